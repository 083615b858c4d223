"""The grammar of names, which is checked before anything is sent."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.api.names import (
    ModelVersionName,
    is_alias,
    path_segment,
    validate_alias,
    validate_identifier,
    validate_suffix,
    validate_weight_uri,
)

DOCUMENTED_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
ALIASES = st.from_regex(DOCUMENTED_ALIAS, fullmatch=True)
NUMBERS = st.integers(min_value=0, max_value=10**18).map(str)
IDS = st.text(st.characters(exclude_characters="/", exclude_categories=["C", "Z"]), min_size=1, max_size=40).filter(
    lambda text: text not in {".", ".."}
)
CONTROL_CHARACTERS = [chr(code) for code in (*range(0x21), 0x7F, 0x85, 0xA0, 0x2028, 0x2029)]


@pytest.mark.parametrize(
    "alias",
    ["ab", "a1", "production", "v1-stable", "my-Cool-Version9", "a" * 128, "a" + "-" * 126 + "9", "prod--x"],
)
def test_an_alias_of_the_documented_form_is_accepted(alias: str) -> None:
    assert validate_alias(alias) == alias


@pytest.mark.parametrize(
    "alias",
    [
        pytest.param("", id="empty"),
        pytest.param("a", id="one character"),
        pytest.param("a" * 129, id="129 characters"),
        pytest.param("production\n", id="trailing newline"),
        pytest.param("\nproduction", id="leading newline"),
        pytest.param("Production", id="capital first"),
        pytest.param("productioN", id="capital last"),
        pytest.param("1a", id="digit first"),
        pytest.param("12", id="a number"),
        pytest.param("-ab", id="hyphen first"),
        pytest.param("ab-", id="hyphen last"),
        pytest.param("a_b", id="underscore"),
        pytest.param("a.b", id="dot"),
        pytest.param("a b", id="space"),
        pytest.param("a/b", id="slash"),
        pytest.param("..", id="dots"),
        pytest.param("ää", id="not ASCII"),
        pytest.param("a٣", id="digit of another script"),
        pytest.param(None, id="null"),
        pytest.param(12, id="not a text"),
        pytest.param(["ab"], id="a list"),
    ],
)
def test_anything_else_is_no_alias_and_the_error_names_argument_value_and_rule(alias: object) -> None:
    with pytest.raises(ValueError, match="2 to 128 characters") as caught:
        validate_alias(alias, "remove")
    assert str(caught.value).startswith(f"remove: {alias!r} ")


@given(ALIASES)
def test_every_alias_of_the_pattern_is_accepted_and_can_never_look_like_a_number(alias: str) -> None:
    assert is_alias(alias)
    assert not alias.isdecimal()


@given(st.text(max_size=130))
def test_no_text_outside_the_pattern_is_accepted(text: str) -> None:
    assert is_alias(text) == bool(DOCUMENTED_ALIAS.fullmatch(text))


@given(IDS, IDS, NUMBERS | ALIASES)
def test_a_version_name_survives_formatting_and_parsing(org: str, arch: str, version_id: str) -> None:
    name = ModelVersionName(org, arch, version_id)
    assert ModelVersionName.parse(str(name)) == name


def test_a_version_name_is_read_into_its_parts() -> None:
    name = ModelVersionName.parse("orgs/my-org/models/gpt-oss-120b/versions/7")
    assert (name.org_name, name.model_arch_id, name.version_id, name.number) == ("my-org", "gpt-oss-120b", "7", 7)


def test_a_version_name_by_alias_has_no_number() -> None:
    assert ModelVersionName.parse("orgs/my-org/models/gpt-oss-120b/versions/production").number is None


def test_another_version_of_the_same_architecture_has_the_same_name_but_for_its_end() -> None:
    name = ModelVersionName.parse("orgs/my-org/models/gpt-oss-120b/versions/production")
    assert str(name.with_version_id("3")) == "orgs/my-org/models/gpt-oss-120b/versions/3"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param(7, id="a number"),
        pytest.param("7", id="the number alone"),
        pytest.param("production", id="the alias alone"),
        pytest.param("orgs/o/models/m/versions/", id="no version"),
        pytest.param("orgs/o/models/m/versions", id="no slash"),
        pytest.param("orgs//models/m/versions/1", id="no organization"),
        pytest.param("orgs/o/models//versions/1", id="no architecture"),
        pytest.param("/orgs/o/models/m/versions/1", id="leading slash"),
        pytest.param("orgs/o/models/m/versions/1/", id="trailing slash"),
        pytest.param("orgs/o/models/m/versions/1/x", id="too long"),
        pytest.param("orgs/o/models/m/version/1", id="misspelt"),
        pytest.param("ORGS/o/models/m/versions/1", id="capitals"),
        pytest.param("https://api.cerebras.ai/orgs/o/models/m/versions/1", id="a URL"),
        pytest.param("orgs/o/models/m/versions/1\n", id="trailing newline"),
        pytest.param("orgs/o/models/m/versions/-1", id="negative"),
        pytest.param("orgs/o/models/m/versions/01", id="leading zero"),
        pytest.param("orgs/o/models/m/versions/1.0", id="a fraction"),
        pytest.param("orgs/o/models/m/versions/٣", id="digit of another script"),
        pytest.param("orgs/o/models/m/versions/A", id="no alias"),
        pytest.param("orgs/o/models/m/versions/..", id="dots for a version"),
        pytest.param("orgs/../models/m/versions/1", id="dots for an organization"),
        pytest.param("orgs/o/models/../versions/1", id="dots for an architecture"),
        pytest.param("orgs/o o/models/m/versions/1", id="space"),
    ],
)
def test_what_is_no_version_name_is_refused_by_the_argument_s_name(text: object) -> None:
    with pytest.raises(ValueError, match=r"^model_version: "):
        ModelVersionName.parse(text)


def test_an_error_of_parsing_shows_the_whole_form() -> None:
    with pytest.raises(ValueError, match=r"orgs/<organization>/models/<architecture>/versions/<number or alias>"):
        ModelVersionName.parse("production")


@pytest.mark.parametrize("value", ["my-org", "gpt-oss-120b", "llama3.1-8b", "a", "1", "a..b", "...", "Ünïcode"])
def test_an_id_may_be_anything_that_can_stand_in_a_path(value: str) -> None:
    assert validate_identifier(value, "org_name") == value


@pytest.mark.parametrize("argument", ["org_name", "model_arch_id", "endpoint_id"])
@pytest.mark.parametrize("value", ["", None, 5, b"my-org", ".", ".."])
def test_what_can_be_no_id_is_refused_by_the_argument_s_name(value: object, argument: str) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: "):
        validate_identifier(value, argument)


@pytest.mark.parametrize("character", CONTROL_CHARACTERS, ids=lambda character: f"U+{ord(character):04X}")
def test_white_space_and_control_characters_are_refused_wherever_they_stand(character: str) -> None:
    for value in (f"{character}org", f"o{character}rg", f"org{character}"):
        with pytest.raises(ValueError, match=r"^org_name: .*white space or a control character"):
            validate_identifier(value, "org_name")


@given(IDS)
def test_an_id_becomes_one_segment_of_a_path_without_a_character_of_meaning(value: str) -> None:
    assert not set(path_segment(value, "org_name")) & set("/?#:@;&=+$,[]\\ ")


@pytest.mark.parametrize(
    "uri", ["s3://my-bucket/model-weights", "s3://my.bucket/a/b/c/", "s3://b-1/ä b?c#d", "s3://OLD.Bucket/x"]
)
def test_a_weight_uri_is_a_bucket_and_a_prefix(uri: str) -> None:
    assert validate_weight_uri(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("", id="empty"),
        pytest.param(None, id="null"),
        pytest.param("my-bucket/weights", id="no scheme"),
        pytest.param("https://my-bucket.s3.amazonaws.com/weights", id="https"),
        pytest.param("gs://my-bucket/weights", id="another store"),
        pytest.param("S3://my-bucket/weights", id="capitals"),
        pytest.param("s3://my-bucket", id="no prefix"),
        pytest.param("s3://my-bucket/", id="empty prefix"),
        pytest.param("s3:///weights", id="no bucket"),
        pytest.param("s3://ab/weights", id="bucket too short"),
        pytest.param("s3://-bucket/weights", id="hyphen first"),
        pytest.param("s3://bucket-/weights", id="hyphen last"),
        pytest.param("s3://my bucket/weights", id="space in the bucket"),
        pytest.param("s3://key:secret@bucket/weights", id="credentials"),
        pytest.param("s3://my-bucket/weights\n", id="trailing newline"),
        pytest.param("s3://my-bucket/wei\x00ghts", id="null character"),
    ],
)
def test_any_other_weight_uri_is_refused_and_the_error_names_argument_and_form(uri: object) -> None:
    with pytest.raises(ValueError, match=r"^weight_uri: .*s3://bucket/prefix"):
        validate_weight_uri(uri)


def test_what_is_longer_than_any_id_is_refused_and_not_repeated() -> None:
    assert validate_identifier("a" * 1024, "org_name") == "a" * 1024
    for check, value in (
        (lambda text: validate_identifier(text, "argument"), "a" * 1025),
        (lambda text: validate_weight_uri(text, "argument"), "s3://bucket/" + "a" * 1025),
        (lambda text: validate_suffix(text, "argument"), "a" * 1025),
        (lambda text: validate_alias(text, "argument"), "a" * 10_000),
        (lambda text: ModelVersionName.parse(text, "argument"), "a" * 10_000),
    ):
        with pytest.raises(ValueError, match=r"^argument: ") as caught:
            check(value)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["a\nb", "a\x00", "\ud800", "\u202ea", "\u2028", 7, ["a"]])
def test_a_suffix_is_a_text_that_can_be_seen(text: object) -> None:
    with pytest.raises(ValueError, match=r"^system_fingerprint_suffix: .* is not a string of at most 1024 printable"):
        validate_suffix(text)


@pytest.mark.parametrize(("text", "kept"), [("run 7", "run 7"), ("é", "é"), ("", None), (None, None)])
def test_a_suffix_that_is_empty_is_none(text: object, kept: str | None) -> None:
    assert validate_suffix(text) == kept
