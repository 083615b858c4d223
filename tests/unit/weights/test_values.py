"""Which values are looked at, and which of them are finite."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.weights.examine import examine
from airflow_provider_cerebras.weights.findings import Level
from airflow_provider_cerebras.weights.values import (
    BYTES_OF_A_TENSOR,
    TENSORS_OF_A_SHARD,
    Sample,
    examine_values,
    samples_of,
)
from tests.unit.weights.layouts import LAYOUTS, Files, Tensors, describe, safetensors

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def found(dtype: str, content: bytes, tensor: str = "a.weight") -> list[tuple[Level, str]]:
    sample = Sample("model.safetensors", tensor, dtype, 0, len(content))
    return [(each.level, each.code) for each in examine_values({sample: content})]


@pytest.mark.parametrize("dtype", KINDS)
@given(values=st.lists(st.floats(), min_size=1, max_size=5))
def test_numbers_are_judged_as_by_numpy(dtype: str, values: list[float]) -> None:
    with np.errstate(over="ignore"):
        array = np.array(values).astype(KINDS[dtype])
    bad = int((~np.isfinite(array)).sum())
    expected = {0: [], len(values): [(Level.ERROR, "not-finite")]}.get(bad, [(Level.WARNING, "some-not-finite")])
    assert found(dtype, array.tobytes()) == expected


@given(st.floats(width=32))
def test_bfloat16_is_the_upper_half_of_a_float32(value: float) -> None:
    content = struct.pack("<f", value)[2:]
    widened = struct.unpack("<f", b"\0\0" + content)[0]
    assert bool(found("BF16", content)) == (not math.isfinite(widened))


@pytest.mark.parametrize("byte", range(256))
def test_bytes_are_judged_by_the_rules_of_their_format(byte: int) -> None:
    # E5M2 has infinities, E4M3 of this kind has only two values that are no number.
    assert bool(found("F8_E5M2", bytes([byte]))) == (byte & 0x7C == 0x7C)
    assert bool(found("F8_E4M3", bytes([byte]))) == (byte in {0x7F, 0xFF})


def test_the_object_and_the_tensor_are_named() -> None:
    sample = Sample("model.safetensors", "a.weight", "F32", 0, 4)
    (only,) = examine_values({sample: struct.pack("<f", math.inf)})
    assert (only.object, only.tensor) == ("model.safetensors", "a.weight")


def test_a_buffer_may_be_infinite() -> None:
    infinite = np.full(9, -np.inf, dtype="<f4").tobytes()
    assert found("F32", infinite, "model.mask") == [(Level.WARNING, "some-not-finite")]


def test_a_piece_of_a_value_is_left_out() -> None:
    assert found("F32", b"\0\0") == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_few_kib_of_each_shard_are_looked_at_and_a_shard_that_is_nan_is_named(layout: str) -> None:
    arch, make = LAYOUTS[layout]
    files = make()
    model, _ = examine(describe(files), arch)
    samples = samples_of(model)
    for key in model.shards:
        of_the_shard = [each for each in samples if each.key == key]
        assert len(of_the_shard) == min(
            TENSORS_OF_A_SHARD, sum(t.dtype != "U8" for t in model.headers[key].tensors.values())
        )
    assert all(each.end - each.begin <= BYTES_OF_A_TENSOR for each in samples)
    contents = {each: files[each.key][each.begin : each.end] for each in samples}
    assert list(examine_values(contents)) == []
    diverged = samples[len(samples) // 2].key
    nan = {each: b"\xff" * len(content) if each.key == diverged else content for each, content in contents.items()}
    named = list(examine_values(nan))
    assert {each.object for each in named} == {diverged}
    assert any(each.level is Level.ERROR for each in named)


def test_tensors_are_taken_from_all_over_a_shard() -> None:
    tensors: Tensors = {f"layers.{number}.weight": ("F32", (3000,)) for number in range(40)}
    files: Files = {"model.safetensors": safetensors(tensors)}
    samples = samples_of(examine(describe(files), "x")[0])
    assert [each.tensor for each in samples] == [f"layers.{number}.weight" for number in (0, 20)]
    assert {each.end - each.begin for each in samples} == {BYTES_OF_A_TENSOR}
