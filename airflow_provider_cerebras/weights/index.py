"""The index of the shards: whether it agrees with the headers of the shards."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from airflow_provider_cerebras.weights.description import (
    MAX_INDEX_BYTES,
    MODEL_INDEX,
    WHOLE_MODEL,
    index_keys,
    weight_map_of,
)
from airflow_provider_cerebras.weights.files import unread
from airflow_provider_cerebras.weights.findings import Finding, demoted, finding, plain, some
from airflow_provider_cerebras.weights.json_text import BadJson
from airflow_provider_cerebras.weights.safetensors import looks_like

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_cerebras.weights.description import Description
    from airflow_provider_cerebras.weights.files import Model


def examine_index(description: Description, model: Model) -> Iterator[Finding]:
    """Check the index against the shards, and the shards against each other.

    :param description: the listing and the first bytes of the objects.
    :param model: the files that the model is made of.
    """
    for key in index_keys(description.listing):
        for each in _readable(description, key):
            if key != MODEL_INDEX:
                yield demoted(each, "It is not the index that readers look for.")
            else:
                has_whole = WHOLE_MODEL in description.objects
                yield demoted(each, f"Readers take {WHOLE_MODEL}.") if has_whole else each
        yield from _other(description, key) if key != model.index_key else ()
    yield from _missing_shards(description, model)
    yield from _tensors(model)
    yield from _twice(model)


def _readable(description: Description, key: str) -> Iterator[Finding]:
    size = description.objects[key].size
    content = description.beginnings.get(key, b"")
    if problem := unread(description, key):
        yield problem
    elif not size:
        yield finding("empty-object", "It has no bytes.", key=key)
    elif len(content) < size:
        what = f"It has {size} bytes; an index of up to {MAX_INDEX_BYTES} is read."
        yield finding("header-not-read", what, key=key)
    elif code := looks_like(content):
        yield finding(code, "It is in place of the index.", key=key)
    else:
        try:
            weight_map_of(content)
        except BadJson as error:
            yield finding("bad-index", f"It {error}.", key=key)


def _other(description: Description, key: str) -> Iterator[Finding]:
    try:
        shards = set(weight_map_of(description.beginnings.get(key, b"")).values())
    except BadJson:
        return
    if missing := shards - set(description.objects):
        yield finding("other-index", f"It names {some(missing)}.", key=key)


def _missing_shards(description: Description, model: Model) -> Iterator[Finding]:
    present, deleted = set(description.objects), description.listing.deleted
    for shard, count in sorted(Counter(model.weight_map.values()).items()):
        if shard not in present:
            hidden = " A delete marker hides it: delete the marker, and it is back." if shard in deleted else ""
            what = f"{model.index_key} names it for {count} tensors, and it is not there.{hidden}"
            yield finding("shard-missing", what, key=shard)


def _tensors(model: Model) -> Iterator[Finding]:
    """Tensors that are not where the index says, as far as the headers are known."""
    holder = {name: key for key, header in model.headers.items() for name in header.tensors}
    for name, shard in model.weight_map.items():
        header = model.headers.get(shard)
        if header is None or name in header.tensors:
            continue
        if name in holder:
            what = f"{model.index_key} names it for a tensor that is in {plain(holder[name])}."
            yield finding("tensor-in-another-shard", what, key=shard, tensor=name)
        else:
            what = f"{model.index_key} names it for a tensor that it does not have."
            yield finding("tensor-missing", what, key=shard, tensor=name)
    if model.weight_map:
        for key, header in model.headers.items():
            if unnamed := set(header.tensors) - set(model.weight_map):
                what = f"{model.index_key} does not name {len(unnamed)} of its tensors: {some(unnamed)}."
                yield finding("tensor-not-in-index", what, key=key, tensor=min(unnamed))


def _twice(model: Model) -> Iterator[Finding]:
    holders: dict[str, list[str]] = defaultdict(list)
    for key, header in sorted(model.headers.items()):
        for name in header.tensors:
            holders[name].append(key)
    for name, keys in holders.items():
        if len(keys) > 1:
            yield finding("tensor-in-two-shards", f"It is in {some(keys)}.", key=keys[1], tensor=name)
