"""What each kind of argument reads, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cerebras.arguments import kinds
from airflow_provider_cerebras.arguments.kinds import Kind
from tests.unit.arguments.forms import SAMPLES, WRONG, Sample

KINDS = {name: kind for name, kind in vars(kinds).items() if isinstance(kind, Kind) and kind.templated}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_each_has_values_to_be_tried(kind: Kind) -> None:
    assert SAMPLES.get(kind.read), "what does it read? Add it to SAMPLES in tests/unit/arguments/forms.py"
    assert WRONG.get(kind.read), "what does it refuse? Add it to WRONG in tests/unit/arguments/forms.py"


@pytest.mark.parametrize(("read", "sample"), [(read, sample) for read, each in SAMPLES.items() for sample in each])
def test_a_value_is_read_as_its_type_and_what_was_read_stays_the_same(read: Any, sample: Sample) -> None:
    value = Kind("", read, optional=True).value(sample.given, "argument")
    assert value == sample.read
    assert type(value) is type(sample.read) or isinstance(sample.read, int)
    assert Kind("", read, optional=True).value(value, "argument") == value


@pytest.mark.parametrize(("read", "value"), [(read, value) for read, each in WRONG.items() for value in each])
def test_a_wrong_value_is_refused_with_the_name_of_the_argument(read: Any, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^argument: "):
        Kind("a value", read).value(value, "argument")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_none_is_taken_only_where_it_is_declared(kind: Kind) -> None:
    assert kind.or_none.value(None, "argument") is None
    with pytest.raises(ValueError, match=r"^argument: must be .*, not None\.$"):
        kind.value(None, "argument")


def test_a_secret_in_a_uri_is_not_repeated() -> None:
    with pytest.raises(ValueError, match="weight_uri") as caught:
        kinds.WEIGHT_URI.value("s3://AKIA123:hidden@my-bucket/weights", "weight_uri")
    assert "hidden" not in str(caught.value)
