"""Good layouts pass, and each damage, done to any of them, is found and called by its name."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cerebras.weights.description import FIRST_BYTES, wanted
from airflow_provider_cerebras.weights.examine import examine, report_of
from airflow_provider_cerebras.weights.findings import KINDS, MAX_OF_A_KIND, Level
from tests.unit.weights.damages import DAMAGES, ODDITIES, model_files
from tests.unit.weights.generated import (
    adapter,
    edited_by_hand,
    gptq,
    layouts,
    nested_shards,
    of_another_time,
    saved_twice,
    vision_and_text,
)
from tests.unit.weights.layouts import (
    LAYOUTS,
    LOCATION,
    Files,
    Tensors,
    describe,
    listing_of,
    safetensors,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cerebras.weights.findings import Finding


def findings(files: Files, arch: str) -> list[Finding]:
    return examine(describe(files), arch)[1]


@settings(max_examples=100, deadline=None)
@given(layouts())
def test_good_layouts_pass(layout: tuple[str, Files]) -> None:
    arch, files = layout
    found = findings(files, arch)
    assert [each for each in found if each.level is Level.ERROR] == []
    warnings = {each.code for each in found if each.level is Level.WARNING}
    unknown = {"unknown-architecture"} if arch == "mistral-small" else set()
    assert warnings <= {"no-index", "second-copy", "whole-beside-shards", "copied-along"} | unknown


@pytest.mark.parametrize("name", DAMAGES)
@settings(max_examples=25, deadline=None)
@given(layout=layouts(), random=st.randoms(use_true_random=False))
def test_each_damage_is_found_and_named(name: str, layout: tuple[str, Files], random: Random) -> None:
    arch, files = layout
    before = findings(files, arch)
    expected = DAMAGES[name](files, random)
    if expected is None:
        return
    found = findings(files, arch)
    assert KINDS[expected.code].level is not Level.OK
    codes = [(each.code, each.object) for each in found]
    assert (expected.code, expected.key) in codes
    if expected.tensor:
        assert (expected.code, expected.key, expected.tensor) in [
            (each.code, each.object, each.tensor) for each in found
        ]
    assert (expected.code, expected.key, expected.tensor) not in [
        (each.code, each.object, each.tensor) for each in before
    ]


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_can_be_done_to_some_layout(name: str) -> None:
    assert any(DAMAGES[name](make(), Random(seed)) for _, make in LAYOUTS.values() for seed in range(5))


@pytest.mark.parametrize("name", ODDITIES)
@settings(max_examples=25, deadline=None)
@given(layout=layouts(), random=st.randoms(use_true_random=False))
def test_what_is_odd_and_works_is_no_error(name: str, layout: tuple[str, Files], random: Random) -> None:
    arch, files = layout
    ODDITIES[name](files, random)
    assert [each for each in findings(files, arch) if each.level is Level.ERROR] == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archived_or_replaced_file_is_found(layout: str) -> None:
    arch, make = LAYOUTS[layout]
    files = make()
    for key in (*model_files(files), "config.json"):
        description = describe(files)
        rest = {each: content for each, content in description.beginnings.items() if each != key}
        archived = replace(description, beginnings=rest, archived=frozenset({key}))
        assert ("archived", key) in [(each.code, each.object) for each in examine(archived, arch)[1]]
        changed = replace(description, beginnings=rest, changed=frozenset({key}))
        assert ("changed-while-read", key) in [(each.code, each.object) for each in examine(changed, arch)[1]]
        assert wanted(archived) == wanted(changed) == {}


def test_a_prefix_without_weights_of_any_format_is_an_error() -> None:
    arch, make = LAYOUTS["qwen-3-32b"]
    files = {key: content for key, content in make().items() if not key.endswith((".safetensors", ".index.json"))}
    found = {(each.level, each.code) for each in examine(describe(files), arch)[1]}
    assert (Level.ERROR, "no-weights") in found


def test_an_object_in_place_of_a_folder_is_told() -> None:
    for path, code in (
        ("run/model.safetensors", "uri-of-a-file"),
        ("run/model.tar.gz", "archive"),
        ("run/of-X", "uri-of-a-file"),
    ):
        listing = replace(listing_of({}), location=LOCATION._replace(path=path), is_object=True)
        (found,) = examine(replace(describe({}), listing=listing), "llama3.1-8b")[1]
        assert (found.code, found.object) == (code, path.rpartition("/")[2])


def test_delete_markers_are_told() -> None:
    arch, make = LAYOUTS["llama-3.1-8b"]
    files = make()
    shard = model_files(files)[0]
    del files[shard], files["config.json"]
    listing = replace(listing_of(files), deleted=frozenset({shard, "config.json"}))
    found = {each.code: each for each in examine(replace(describe(files), listing=listing), arch)[1]}
    assert "A delete marker hides it" in found["shard-missing"].message
    assert "A delete marker hides it" in found["no-config"].message
    nothing = replace(listing_of({}), deleted=frozenset({shard}))
    (only,) = examine(replace(describe({}), listing=nothing), arch)[1]
    assert "Delete markers hide 1 objects" in only.message


def test_a_large_header_is_read_in_two_steps_and_no_more_of_a_file() -> None:
    tensors: Tensors = {
        f"model.layers.0.mlp.experts.{number}.up_proj.weight": ("BF16", (8, 8)) for number in range(2000)
    }
    files = {"model.safetensors": safetensors(tensors), "config.json": b"{}"}
    description = describe({**files, "model.safetensors": files["model.safetensors"]})
    read = description.beginnings["model.safetensors"]
    assert FIRST_BYTES < len(read) == 8 + int.from_bytes(read[:8], "little") < len(files["model.safetensors"])
    assert not [each for each in examine(description, "x")[1] if each.object == "model.safetensors"]


def test_a_header_that_is_too_large_to_be_read_is_a_warning() -> None:
    size = 90_000_000
    files = {"model.safetensors": (size - 8).to_bytes(8, "little") + b"{" + b" " * FIRST_BYTES, "config.json": b"{}"}
    listing = listing_of(files)
    listing = replace(
        listing,
        objects=tuple(
            each._replace(size=size) if each.key == "model.safetensors" else each for each in listing.objects
        ),
    )
    description = replace(
        describe({"config.json": b"{}"}),
        listing=listing,
        beginnings={"model.safetensors": files["model.safetensors"][:FIRST_BYTES], "config.json": b"{}"},
    )
    assert wanted(description) == {}
    found = {each.code: each.level for each in examine(description, "x")[1]}
    assert found["header-not-read"] is Level.WARNING


def test_what_is_not_read_for_want_of_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    arch, make = LAYOUTS["llama-3.1-8b"]
    files = make()
    for limit in (0, len(files["config.json"]) + 1, sum(map(len, files.values())) // 2):
        monkeypatch.setattr("airflow_provider_cerebras.weights.description.MAX_BYTES_IN_ALL", limit)
        found = findings(files, arch)
        assert "header-not-read" in {each.code for each in found if each.level is Level.WARNING}
        assert [each for each in found if each.level is Level.ERROR] == []


def test_findings_beyond_number_are_not_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    arch, make = LAYOUTS["llama, tied"]
    names = {f"of-no-shard-{number}": "model.safetensors" for number in range(30)}
    files = {**make(), "model.safetensors.index.json": json.dumps({"weight_map": names}).encode()}
    monkeypatch.setattr("airflow_provider_cerebras.weights.examine.MOST_FINDINGS", 7)
    assert [each.code for each in findings(files, arch)].count("tensor-missing") == 7


def test_a_broken_file_that_is_no_part_of_the_model_is_a_warning() -> None:
    arch, make = LAYOUTS["qwen-3-32b"]
    files = {**make(), "model-00001-of-00002.safetensors": b"half of an older save"}
    found = [each for each in findings(files, arch) if each.object == "model-00001-of-00002.safetensors"]
    assert [(each.level, each.code) for each in found] == [(Level.WARNING, "not-safetensors")]


@pytest.mark.parametrize(
    ("make", "warnings"),
    [
        (vision_and_text, {"vocabulary-larger"}),
        (gptq, {"quantization", "empty-tensor"}),
        (saved_twice, {"other-index", "old-shards"}),
        (nested_shards, {"second-copy"}),
        (edited_by_hand, set()),
        (adapter, {"adapter-only", "tokenizer-missing"}),
        (of_another_time, {"unknown-dtype", "unknown-architecture"}),
    ],
)
def test_what_is_unusual_and_works_is_no_error(make: Callable[[], Files], warnings: set[str]) -> None:
    found = findings(make(), "llama3.1-8b")
    assert [each for each in found if each.level is Level.ERROR] == []
    assert {each.code for each in found if each.level is Level.WARNING} == warnings


def test_a_report_is_bounded_and_plain_data_and_one_line_a_finding() -> None:
    arch, make = LAYOUTS["qwen-3-32b"]
    files = make()
    evil = "a\nb\x1b[31m" + "x" * 500
    files |= {f"{number}{evil}.pt": b"1" for number in range(100)}
    for key in model_files(files):
        files[key] = b""
    description = describe(files)
    model, found = examine(description, arch)
    report = report_of(description, model, arch, ("files",), found)
    by_code = [(each.level, each.code) for each in report.findings]
    assert by_code.count((Level.WARNING, "copied-along")) == MAX_OF_A_KIND + 1
    assert "There are 80 more findings of this kind." in [each.message for each in report.findings]
    assert by_code == sorted(by_code, key=lambda each: list(Level).index(each[0]))
    assert json.loads(json.dumps(report.to_json())) == report.to_json()
    assert len(report.table().splitlines()) == 2 + len(report.findings) + 2
    assert "\x1b" not in report.table()
    assert report.summary(2).startswith("17 errors: (1) model-00001-of-00017.safetensors: empty-object: It has no")
    assert report.summary(2).endswith("And 15 more: see the table in the log.")
