"""What findings and the report say: complete sentences, the object, the tensor, and every field."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from airflow_provider_cerebras.weights.description import wanted
from airflow_provider_cerebras.weights.digest import digest_of
from airflow_provider_cerebras.weights.examine import examine, report_of
from airflow_provider_cerebras.weights.findings import Level
from airflow_provider_cerebras.weights.objects import StoredObject
from tests.unit.weights.damages import DAMAGES, header_of, model_files, set_header
from tests.unit.weights.layouts import HIDDEN, LAYOUTS, TOKENIZER, VOCABULARY, describe, safetensors

if TYPE_CHECKING:
    from airflow_provider_cerebras.weights.findings import Finding
    from tests.unit.weights.layouts import Files

ARCH = "llama3.1-8b"


def sound() -> Files:
    return LAYOUTS["llama-3.1-8b"][1]()


def found(files: Files) -> dict[str, Finding]:
    """The findings by code, of which each comes once."""
    return {each.code: each for each in examine(describe(files), ARCH)[1]}


def check_sentences(findings: list[Finding]) -> None:
    for each in findings:
        assert re.match(r"\d|[A-Z]([a-z]| )|[a-z_]+ in |tie_word_embeddings is|\S*(safetensors|json) ", each.message), (
            each
        )
        assert each.message.endswith("."), each
        assert not re.search(r"\bNone\b|XX|[^.]\.\.( |$)", each.message), each


@pytest.mark.parametrize("name", DAMAGES)
def test_each_message_is_made_of_sentences(name: str) -> None:
    for arch, make in LAYOUTS.values():
        for seed in range(3):
            files = make()
            DAMAGES[name](files, Random(seed))
            check_sentences(examine(describe(files), arch)[1])


def test_messages_about_what_was_not_read_are_made_of_sentences() -> None:
    description = describe(sound())
    for key in ("config.json", "model.safetensors.index.json", "model-00001-of-00004.safetensors"):
        unread = replace(description, beginnings={k: v for k, v in description.beginnings.items() if k != key})
        check_sentences(examine(replace(unread, archived=frozenset({key})), ARCH)[1])
        check_sentences(examine(replace(unread, changed=frozenset({key})), ARCH)[1])
        cut = {**description.beginnings, key: description.beginnings[key][:20]}
        findings = examine(replace(description, beginnings=cut), ARCH)[1]
        check_sentences(findings)
        assert "header-not-read" in {each.code for each in findings if each.object == key}


def test_a_finding_that_is_no_error_says_why() -> None:
    files = {**sound(), "model-00001-of-00002.safetensors": b"half of an older save"}
    (broken,) = [each for each in examine(describe(files), ARCH)[1] if each.code == "not-safetensors"]
    assert broken.message.endswith("It does not seem to be a part of the model.")


def test_a_missing_configuration_is_named_and_a_delete_marker_is_told_only_if_there_is_one() -> None:
    files = sound()
    del files["config.json"]
    description = describe(files)
    marked = replace(description, listing=replace(description.listing, deleted=frozenset({"config.json"})))
    for each, is_told in ((description, False), (marked, True)):
        (finding,) = [one for one in examine(each, ARCH)[1] if one.code == "no-config"]
        assert finding.object == "config.json"
        assert ("delete marker" in finding.message) is is_told
        check_sentences([finding])


def test_hidden_weights_are_named_beside_other_files() -> None:
    files = {key: content for key, content in sound().items() if key in {"config.json", "tokenizer.json"}}
    description = describe(files)
    for deleted, key in ((frozenset({"model.safetensors", "old.txt"}), "model.safetensors"), (frozenset[str](), None)):
        hidden = replace(description, listing=replace(description.listing, deleted=deleted))
        (finding,) = [each for each in examine(hidden, ARCH)[1] if each.code == "no-weights"]
        assert finding.object == key
        assert ("A delete marker hides model.safetensors." in finding.message) is bool(deleted)


def test_a_tokenizer_without_bytes_is_a_warning() -> None:
    files = {**sound(), "tokenizer.json": b""}
    finding = found(files)["empty-object"]
    assert (finding.level, finding.object) == (Level.WARNING, "tokenizer.json")
    assert finding.message.endswith("Whether it is needed is not documented.")


def test_sizes_may_have_the_names_of_gpt_2() -> None:
    files = {
        "model.safetensors": safetensors({"transformer.wte.weight": ("F32", (VOCABULARY, HIDDEN))}),
        "config.json": json.dumps({"model_type": "gpt2", "n_embd": HIDDEN + 1}).encode(),
        **TOKENIZER,
    }
    assert found(files)["hidden-size"].tensor == "transformer.wte.weight"


def test_all_broken_files_are_found() -> None:
    files = sound()
    first, second, *_ = model_files(files)
    files[first] = files[second] = b"neither of them is one"
    broken = [each.object for each in examine(describe(files), ARCH)[1] if each.code == "not-safetensors"]
    assert broken == [first, second]


def test_all_unread_files_are_found() -> None:
    files = sound()
    first, second, *_ = model_files(files)
    rest = {key: content for key, content in describe(files).beginnings.items() if key not in {first, second}}
    description = replace(describe(files), beginnings=rest, archived=frozenset({first, second}))
    assert [each.object for each in examine(description, ARCH)[1] if each.code == "archived"] == [first, second]


def test_all_headers_that_were_not_read_are_found() -> None:
    description = describe(sound())
    first, second, *_ = model_files(sound())
    cut = {**description.beginnings, first: b"\x08" + bytes(7) + b"{", second: b"\x08" + bytes(7) + b"{"}
    findings = examine(replace(description, beginnings=cut), ARCH)[1]
    assert [each.object for each in findings if each.code == "header-not-read"] == [first, second]


@pytest.mark.parametrize(
    "entry",
    [{"shape": 1}, {"shape": [1 << 63, 4]}, {"data_offsets": [4, 0]}, {"dtype": 1}, {"shape": [3]}, {"shape": None}],
)
def test_messages_about_headers_are_made_of_sentences(entry: dict[str, object]) -> None:
    files = LAYOUTS["llama, tied"][1]()
    header = header_of(files["model.safetensors"])
    header["model.norm.weight"] = {**header["model.norm.weight"], **entry}
    set_header(files, "model.safetensors", header)
    check_sentences([found(files)["bad-header"]])


def test_a_report_of_nothing_has_no_digest() -> None:
    for files in ({}, sound()):
        description = describe(files)
        model, findings = examine(description, ARCH)
        digest = report_of(description, model, ARCH, ("files",), findings).digest
        assert digest == (digest_of(description.listing.objects) if files else None)


def test_the_tensor_at_which_a_file_is_cut_off_is_named() -> None:
    files = LAYOUTS["llama, tied"][1]()
    files["model.safetensors"] = files["model.safetensors"][:-1]
    assert found(files)["cut-off"].tensor == "model.norm.weight"


def test_bytes_of_no_tensor_between_two_are_found() -> None:
    files = LAYOUTS["llama, tied"][1]()
    header = header_of(files["model.safetensors"])
    begin, end = header["model.norm.weight"]["data_offsets"]
    header["model.norm.weight"]["data_offsets"] = [begin + 1, end + 1]
    set_header(files, "model.safetensors", header)
    files["model.safetensors"] += b"\0"
    assert found(files)["bad-header"].tensor == "model.norm.weight"


@pytest.mark.parametrize("page", [b"<!DOCTYPE html>", b"<html>", b"<HTML>", b"<?xml?>", b"<Error>"])
def test_each_beginning_of_a_page_is_known(page: bytes) -> None:
    assert found({**sound(), "config.json": page})["web-page"].object == "config.json"


def test_an_archived_object_beside_the_model_is_a_warning() -> None:
    description = describe(sound())
    beside = StoredObject("copy/a.txt", 3, "etag", "GLACIER")
    listing = replace(description.listing, objects=(*description.listing.objects, beside))
    (finding,) = [each for each in examine(replace(description, listing=listing), ARCH)[1] if each.code == "archived"]
    assert (finding.level, finding.object) == (Level.WARNING, "copy/a.txt")
    assert finding.message.endswith("It may have been restored, and does not seem to be a part of the model.")
    # What could be read is not archived any more.
    restored = tuple(each._replace(storage_class="GLACIER") for each in description.listing.objects)
    read = replace(description, listing=replace(listing, objects=restored))
    archived = {each.object for each in examine(read, ARCH)[1] if each.code == "archived"}
    assert archived == {each.key for each in restored} - description.beginnings.keys()


def test_only_what_is_judged_is_read() -> None:
    description = replace(describe(sound()), beginnings={})
    assert not [key for key in wanted(description) if key in {"README.md", ".gitattributes", "generation_config.json"}]


def test_an_index_that_is_not_there_is_not_said_to_agree() -> None:
    assert "index" in found(sound())
    assert "index" not in found(LAYOUTS["llama, tied"][1]())


def test_the_report_has_every_field() -> None:
    files = sound()
    description = describe(files)
    model, findings = examine(description, ARCH)
    report = report_of(description, model, ARCH, ("files", "index"), findings)
    as_json = report.to_json()
    assert {key: as_json[key] for key in ("weight_uri", "model_arch_id", "checks", "files", "bytes")} == {
        "weight_uri": "s3://models/run/",
        "model_arch_id": ARCH,
        "checks": ["files", "index"],
        "files": len(files),
        "bytes": sum(map(len, files.values())),
    }
    assert set(as_json) == {*("weight_uri", "model_arch_id", "checks", "findings", "files", "bytes", "tensors")} | {
        *("parameters", "digest")
    }
    assert as_json["tensors"] == sum(len(header.tensors) for header in model.headers.values()) > 0
    assert as_json["parameters"] == {
        "BF16": sum(each.elements for h in model.headers.values() for each in h.tensors.values())
    }
    assert report.table().splitlines()[1].split() == ["level", "code", "object", "message"]


def test_the_table_names_object_and_tensor() -> None:
    files = sound()
    files["config.json"] = files["config.json"].replace(b'"vocab_size": 16', b'"vocab_size": 17')
    description = describe(files)
    model, findings = examine(description, ARCH)
    table = report_of(description, model, ARCH, ("config",), findings).table()
    assert "model-00001-of-00004.safetensors [model.embed_tokens.weight]" in table
