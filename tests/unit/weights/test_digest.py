"""The digest of a listing: what is part of it, and what is not."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cerebras.weights import StoredObject, digest_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OBJECTS = st.builds(StoredObject, TEXTS, st.integers(0, 1 << 45), TEXTS)
LISTINGS = st.lists(OBJECTS, max_size=6, unique_by=lambda each: each.key)


def test_the_format_is_the_documented_one() -> None:
    objects = [StoredObject("é\n.json", 0, "b-2"), StoredObject('a"b', 12, "a")]
    lines = b'["\\u00e9\\n.json",0,"b-2"]\n["a\\"b",12,"a"]\n'
    assert digest_of(objects) == hashlib.sha256(lines).hexdigest()


@given(LISTINGS, st.randoms(use_true_random=False))
def test_the_order_makes_no_difference(listing: list[StoredObject], random: object) -> None:
    shuffled = list(listing)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert digest_of(shuffled) == digest_of(listing)


@given(LISTINGS, LISTINGS)
def test_other_objects_have_another_digest(one: list[StoredObject], other: list[StoredObject]) -> None:
    assert (digest_of(one) == digest_of(other)) == (sorted(one) == sorted(other))


def test_the_storage_class_is_not_part_of_it() -> None:
    # A lifecycle rule may move an object to another class; its bytes stay the same.
    one, other = (StoredObject("a", 1, "e", storage_class) for storage_class in ("STANDARD", "STANDARD_IA"))
    assert digest_of([one]) == digest_of([other])
