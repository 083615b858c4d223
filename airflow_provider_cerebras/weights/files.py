"""The files: which of them the model is made of, whether each is complete, and what else lies beside them.

The model is what is in the root of the prefix: the shards that its index names, or else all its safetensors files. What
is wrong with other files is a warning, for they may never be read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.weights.description import (
    MAX_READ_HEADER_BYTES,
    MODEL_INDEX,
    SAFETENSORS,
    WHOLE_MODEL,
    weight_map_of,
)
from airflow_provider_cerebras.weights.findings import Finding, demoted, finding, plain, some
from airflow_provider_cerebras.weights.json_text import BadJson
from airflow_provider_cerebras.weights.safetensors import DTYPE_BITS, BadHeader, Header, bytes_wanted, parse_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_cerebras.weights.description import Description
    from airflow_provider_cerebras.weights.objects import StoredObject

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip", ".7z", ".gz", ".zst")
OTHER_FORMATS = (".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".distcp", ".h5", ".msgpack", ".onnx", ".npz")
_HARMLESS = re.compile(r"training_args\.bin")
_SHARD = re.compile(r"(?P<base>.*)-(?P<number>\d{1,9})-of-(?P<total>\d{1,9})\.safetensors")
_CHECKPOINT = re.compile(r"(checkpoint|global_?step|step|epoch|iter)[-_]?\d+", re.IGNORECASE)
_ARCHIVED_CLASSES = {"GLACIER", "DEEP_ARCHIVE"}


class Set(NamedTuple):
    """Shards of one save, by their names ``<base>-<number>-of-<total>.safetensors``."""

    base: str
    total: str


@dataclass(frozen=True)
class Model:
    """The files that a model is made of.

    :param shards: keys of the files, as far as they are there.
    :param headers: the headers of those that are sound.
    :param index_key: key of the index; None: there is none, or it cannot be used.
    :param weight_map: from tensors to shards, as the index says.
    :param is_adapter: whether it is an adapter only.
    :param others: headers of other safetensors files in the root.
    """

    shards: tuple[str, ...] = ()
    headers: Mapping[str, Header] = field(default_factory=dict)
    index_key: str | None = None
    weight_map: Mapping[str, str] = field(default_factory=dict)
    is_adapter: bool = False
    others: Mapping[str, Header] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether every file that belongs to the model is there and has a sound header."""
        return bool(self.shards) and {*self.shards, *self.weight_map.values()} <= set(self.headers)


def examine_files(description: Description) -> tuple[Model, list[Finding]]:
    """Find the files that the model is made of, and what is wrong with any file.

    :param description: the listing and the first bytes of the objects.
    """
    listing = description.listing
    if not listing.objects:
        return Model(), [_nothing(description)]
    weights = [each for each in listing.objects if each.in_root and each.key.endswith(SAFETENSORS)]
    findings = list(_beside(listing.objects))
    findings += _archived(listing.objects, description)
    index_key, weight_map = _index(description)
    if not weights and not any(shard in description.objects for shard in weight_map.values()):
        return Model(index_key=index_key, weight_map=weight_map), [_no_weights(description), *findings]

    headers, problems = _headers(description, {*(each.key for each in weights), *weight_map.values()})
    shards = _shards({each.key for each in weights}, set(description.objects), weight_map)
    if not weight_map:
        shards, found = _without_index(shards, headers)
        findings += found
    model = Model(
        shards=tuple(sorted(shards)),
        headers={key: header for key, header in headers.items() if key in shards},
        index_key=index_key,
        weight_map=weight_map,
        is_adapter=all(_is_adapter(key) for key in shards),
        others={key: header for key, header in headers.items() if key not in shards},
    )
    findings += _of_the_model(problems, model)
    if model.is_adapter:
        findings.append(finding("adapter-only", f"{some(model.shards)} is an adapter.", key=model.shards[0]))
    if weight_map:
        findings += _surplus(model)
    return model, findings


def _of_the_model(problems: Iterable[Finding], model: Model) -> Iterator[Finding]:
    ours = {plain(key) for key in model.shards}
    for each in problems:
        yield each if each.object in ours else demoted(each, "It does not seem to be a part of the model.")


def _nothing(description: Description) -> Finding:
    listing = description.listing
    uri = listing.location.uri.rstrip("/")
    if listing.is_object:
        code = "archive" if uri.lower().endswith(ARCHIVES) else "uri-of-a-file"
        return finding(code, f"{plain(uri)} is an object, not a folder.", key=uri.rpartition("/")[2])
    hidden = f" Delete markers hide {len(listing.deleted)} objects there." if listing.deleted else ""
    return finding("nothing-there", f"There is no object under {plain(listing.location.uri)}.{hidden}")


def _no_weights(description: Description) -> Finding:
    objects = description.listing.objects
    if folders := sorted({each.key.rpartition("/")[0] for each in objects if each.key.endswith(SAFETENSORS)}):
        what = (
            f"There is no *.safetensors in the root of the prefix, but in {some(f'{folder}/' for folder in folders)}."
        )
        return finding("weights-in-a-folder", what, key=f"{folders[0]}/")
    for code, endings in (("other-format", OTHER_FORMATS), ("archive", ARCHIVES)):
        found = sorted(each.key for each in objects if _ends(each.key, endings))
        if found:
            return finding(code, f"There is no *.safetensors, but {some(found)}.", key=found[0])
    hidden = sorted(key for key in description.listing.deleted if key.endswith(SAFETENSORS))
    why = f" A delete marker hides {some(hidden)}." if hidden else ""
    return finding("no-weights", f"There is no *.safetensors.{why}", key=hidden[0] if hidden else None)


def _ends(key: str, endings: tuple[str, ...]) -> bool:
    name = key.rpartition("/")[2].lower()
    return name.endswith(endings) and not _HARMLESS.fullmatch(name)


def _index(description: Description) -> tuple[str | None, dict[str, str]]:
    """Key and content of the index, if the model has one."""
    try:
        weight_map = weight_map_of(description.beginnings.get(MODEL_INDEX, b""))
    except BadJson:
        return None, {}
    # What an earlier, sharded save has left beside a whole model: readers take the whole one.
    shards, present = set(weight_map.values()), set(description.objects)
    if WHOLE_MODEL in shards or WHOLE_MODEL not in present or shards <= present:
        return MODEL_INDEX, weight_map
    return None, {}


def _shards(root: set[str], present: set[str], weight_map: Mapping[str, str]) -> set[str]:
    """Keys of the files that the model is made of, as far as they are there."""
    if weight_map:
        return set(weight_map.values()) & present or root
    for belongs in (_is_adapter, _is_consolidated):
        # Mistral's own format lies beside the shards of the usual one.
        if others := {key for key in root if not belongs(key)}:
            root = others
    return root


def _is_adapter(key: str) -> bool:
    return key.startswith("adapter_model")


def _is_consolidated(key: str) -> bool:
    return key.startswith("consolidated")


def _headers(description: Description, keys: Iterable[str]) -> tuple[dict[str, Header], list[Finding]]:
    headers, findings = {}, []
    objects = description.objects
    for key in sorted(set(keys) & set(objects)):
        if problem := unread(description, key):
            findings.append(problem)
            continue
        beginning, size = description.beginnings.get(key, b""), objects[key].size
        count = bytes_wanted(beginning, size)
        if len(beginning) < min(count, size) or (size and not beginning):
            what = f"Its header takes {count} bytes; headers of up to {MAX_READ_HEADER_BYTES} are read."
            findings.append(finding("header-not-read", what, key=key))
            continue
        try:
            headers[key] = parse_header(beginning, size)
        except BadHeader as error:
            findings.append(finding(error.code, str(error), key=key, tensor=error.tensor))
            continue
        unknown = {name: each.dtype for name, each in headers[key].tensors.items() if each.dtype not in DTYPE_BITS}
        if unknown:
            name, dtype = min(unknown.items())
            what = f"{len(unknown)} of its tensors have a dtype like {plain(dtype)!r}."
            findings.append(finding("unknown-dtype", what, key=key, tensor=name))
    return headers, findings


def unread(description: Description, key: str) -> Finding | None:
    """Return the finding about an object that could not be read; None: it could be read.

    :param description: the facts known of the weights.
    :param key: key of the object.
    """
    if key in description.archived:
        return finding("archived", "It is archived, and not restored.", key=key)
    if key in description.changed:
        return finding("changed-while-read", "It is not the object that was listed a moment ago.", key=key)
    return None


def _archived(objects: Iterable[StoredObject], description: Description) -> Iterator[Finding]:
    for each in objects:
        # What has been read is judged by what S3 answered, since it may have been restored.
        if each.storage_class in _ARCHIVED_CLASSES and each.key not in {*description.beginnings, *description.archived}:
            found = finding("archived", f"Its storage class is {each.storage_class}.", key=each.key)
            yield demoted(found, "It may have been restored, and does not seem to be a part of the model.")


def _beside(objects: Iterable[StoredObject]) -> Iterator[Finding]:
    """Find the objects that would be copied along."""
    folders: dict[str, list[StoredObject]] = defaultdict(list)
    for each in objects:
        if each.in_root and _ends(each.key, OTHER_FORMATS):
            yield finding("copied-along", f"It has {each.size} bytes.", key=each.key)
        if not each.in_root:
            folders[each.key.partition("/")[0]].append(each)
    for folder, inside in sorted(folders.items()):
        weights = [each for each in inside if _ends(each.key, (SAFETENSORS, *OTHER_FORMATS))]
        if weights:
            code = "copied-along" if _CHECKPOINT.fullmatch(folder) else "second-copy"
            size = sum(each.size for each in inside)
            yield finding(code, f"{len(inside)} objects with {size} bytes are in it.", key=f"{folder}/")


def _surplus(model: Model) -> Iterator[Finding]:
    """Safetensors files in the root that the index does not name."""
    sets = {_set(key) for key in model.weight_map.values()} - {None}
    named = {name for header in model.headers.values() for name in header.tensors}
    for key, header in model.others.items():
        if _is_adapter(key):
            continue
        fresh = set(header.tensors) - named
        if _set(key) in sets and fresh and model.is_whole:
            what = f"{model.index_key} does not name it, and it has tensors that no other shard has, such as"
            yield finding("shard-not-in-index", f"{what} {some(fresh, 1)}.", key=key)
        elif _set(key) is None:
            yield finding("whole-beside-shards", f"{model.index_key} does not name it.", key=key)
        else:
            yield finding("old-shards", f"{model.index_key} does not name it.", key=key)


def _without_index(keys: set[str], headers: Mapping[str, Header]) -> tuple[set[str], list[Finding]]:
    """Select the files of the model where there is no index.

    Complete sets of shards come first, then single files, then what is left of other sets. What holds tensors that are
    in the model already is no part of it.
    """
    sets: dict[Set, list[str]] = defaultdict(list)
    for key in sorted(keys):
        if one := _set(key):
            sets[one].append(key)
    if not sets:
        return keys, []
    single = [[key] for key in sorted(keys) if not _set(key)]
    shards = sorted(sets.values(), key=lambda group: (bool(_missing(group)), -len(group), group))
    ordered = sorted([*shards, *single], key=lambda group: (group in single) + 2 * bool(_missing(group)))
    chosen: set[str] = set()
    held: dict[str, bool] = {}  # the tensors, and whether they are in a set of shards
    findings: list[Finding] = []
    for group in ordered:
        inside = {name for key in group if key in headers for name in headers[key].tensors}
        if common := held.keys() & inside:
            beside = "old-shards" if not any(held[name] for name in common) else "several-saves"
            code = "whole-beside-shards" if group in single else beside
            what = f"It holds tensors that are elsewhere as well, such as {some(common, 1)}."
            findings.append(finding(code, what, key=group[0]))
            continue
        chosen.update(group)
        held |= dict.fromkeys(inside, group not in single)
        what = f"It is missing beside {len(group)} others."
        findings += [finding("shard-missing", what, key=key) for key in _missing(group)]
    if any(_set(key) for key in chosen):
        findings.append(finding("no-index", f"Shards that are there: {sum(_set(key) is not None for key in chosen)}."))
    return chosen, findings


def _missing(group: list[str]) -> list[str]:
    """Keys of shards that are missing in a set; none for a single file."""
    one = _set(group[0])
    if one is None:
        return []
    width = len(one.total)
    numbers = _gaps({_number(key) for key in group}, int(one.total))
    return [f"{one.base}-{number:0{width}}-of-{one.total}{SAFETENSORS}" for number in numbers]


def _set(key: str) -> Set | None:
    match = _SHARD.fullmatch(key)
    return Set(match["base"], match["total"]) if match else None


def _number(key: str) -> int:
    match = _SHARD.fullmatch(key)
    return int(match["number"]) if match else -1


def _gaps(numbers: set[int], total: int) -> list[int]:
    """Numbers that are missing among shards "of `total`".

    Some count from 1 to the total, some from 0 to one less, and a well-known model counts from 0 to the total.
    """
    first = 0 if 0 in numbers else 1
    last = total if first or total in numbers else total - 1
    # Whatever total a name claims, no more is listed than can be of use.
    missing = (number for number in range(first, last + 1) if number not in numbers)
    return [number for number, _ in zip(missing, range(1000), strict=False)]
