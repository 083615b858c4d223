"""The parser of headers agrees with the format's own library, whatever bytes it is given."""

from __future__ import annotations

import json
from typing import Any

import pytest
import safetensors
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.weights.safetensors import DTYPE_BITS, BadHeader, header_length, parse_header
from tests.unit.weights.layouts import safetensors as save
from tests.unit.weights.layouts import with_header

SIZES = st.one_of(st.integers(-1, 6), st.sampled_from([1 << 62, 1 << 64, True, 1.0, None, "1"]))
ENTRIES: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from([*DTYPE_BITS, 1]),
            "shape": st.lists(SIZES, max_size=3),
            "data_offsets": st.lists(SIZES, min_size=1, max_size=3),
        },
        optional={"more": st.none()},
    ),
    st.sampled_from([{}, [], None, 1, {"dtype": "F32", "shape": []}]),
)
METADATA: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.dictionaries(st.text(max_size=2), st.text(max_size=2)), st.just({"a": 1}), st.just([])
)


def accepted(content: bytes) -> bool:
    try:
        safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return False
    return True


def ours(content: bytes) -> bool:
    try:
        parse_header(content, len(content))
    except BadHeader:
        return False
    return True


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=3), ENTRIES, max_size=3), METADATA, st.binary(max_size=12))
def test_headers_are_judged_as_by_the_library(entries: dict[str, Any], metadata: Any, data: bytes) -> None:
    header = {**entries, **({} if metadata is None else {"__metadata__": metadata})}
    content = with_header(json.dumps(header).encode(), data)
    assert ours(content) == accepted(content)


GOOD = save({"a": ("F32", (2, 3)), "b": ("BF16", (2,)), "c": ("U8", (0,))})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.one_of(st.binary(max_size=1), st.just(b"00")))
def test_a_changed_byte_is_judged_as_by_the_library(position: int, byte: bytes) -> None:
    content = GOOD[:position] + byte + GOOD[position + 1 :]
    # A dtype that the library does not know yet is tolerated, and told.
    if ours(content) and not accepted(content):
        header = parse_header(content, len(content))
        assert {each.dtype for each in header.tensors.values()} - set(DTYPE_BITS)
    else:
        assert ours(content) == accepted(content)


@pytest.mark.parametrize("length", [0x0280, 0x8B1F, 0x04034B50])
def test_a_length_that_looks_like_another_format_is_a_length(length: int) -> None:
    # 640 bytes of header begin like a pickle, 35,615 like a gzip archive, 67,324,752 like a ZIP archive.
    content = length.to_bytes(8, "little") + b"{}" + b" " * (length - 2)
    assert ours(content)
    assert accepted(content)


@given(st.binary(max_size=64))
@example(b"")
@example(b"\x02\0\0\0\0\0\0\0{}")
def test_arbitrary_bytes_are_judged_as_by_the_library(content: bytes) -> None:
    assert ours(content) == accepted(content)


@pytest.mark.parametrize("claimed", [100_000_001, 1 << 40, 1 << 63, (1 << 64) - 1])
def test_a_length_that_no_header_has_is_no_wish_to_read_it(claimed: int) -> None:
    with pytest.raises(BadHeader) as error:
        header_length(claimed.to_bytes(8, "little") + b"{", 1 << 62)
    assert error.value.code == "not-safetensors"


def test_what_stands_in_place_of_a_file_is_told_and_not_taken_for_a_length() -> None:
    with pytest.raises(BadHeader) as error:
        parse_header(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", 56)
    assert error.value.code == "git-lfs-pointer"
    assert "2336927755350992246" not in str(error.value)
