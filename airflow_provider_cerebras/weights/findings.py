"""The findings of a check: level, code, object, tensor, and remedy.

``KINDS`` holds every code once, with its level, its meaning and its remedy; the table in the documentation is made
from it. What is certainly broken is an error. What is unusual, or undocumented, is a warning.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_OF_A_KIND = 20
"""Findings of one code that a report holds; the others are counted."""
_MAX_NAME = 200


class Level(StrEnum):
    """The level of a finding: ``error`` fails the check, ``warning`` and ``ok`` do not."""

    ERROR = "error"
    WARNING = "warning"
    OK = "ok"


class Kind(NamedTuple):
    """The level, meaning and remedy of all findings of one code.

    :param level: how bad they are.
    :param meaning: what is wrong.
    :param remedy: what to do about it.
    """

    level: Level
    meaning: str
    remedy: str


class Finding(NamedTuple):
    """One thing that a check has found.

    :param level: how bad it is.
    :param code: its kind, a key of ``KINDS``.
    :param object: the object it is about, as its key relative to the prefix; None: the prefix or the bucket.
    :param tensor: the tensor it is about, or None.
    :param message: what is wrong, and what to do.
    """

    level: Level
    code: str
    object: str | None
    tensor: str | None
    message: str


def _error(meaning: str, remedy: str) -> Kind:
    return Kind(Level.ERROR, meaning, remedy)


def _warning(meaning: str, remedy: str) -> Kind:
    return Kind(Level.WARNING, meaning, remedy)


_SAVE_AGAIN = "Save the model again, and copy it again."
_COPY_AGAIN = "Copy the object again, and wait until the copy has ended."
_FROM_HUB = "Download the file itself (git lfs pull, or hf download), and copy it again."

KINDS: dict[str, Kind] = {
    # Files
    "bucket-missing": _error("The bucket does not exist.", "Correct the URI."),
    "nothing-there": _error("There is no object under the prefix.", "Correct the URI, or copy the weights there."),
    "uri-of-a-file": _error(
        "The URI is that of an object.", "Give the folder that the weights are in, not a file or an archive."
    ),
    "archive": _error("Only an archive is there.", "Unpack it, and copy the files that were in it."),
    "other-format": _error(
        "Weights are there in another format than safetensors only.",
        "Convert them to safetensors, for example by save_pretrained(..., safe_serialization=True).",
    ),
    "weights-in-a-folder": _error(
        "Safetensors files are in a folder below the prefix only.",
        "Give the URI of that folder, with config.json in it, or copy the files into the root of the prefix.",
    ),
    "no-weights": _error("No safetensors file is there.", "Copy the weights there, as *.safetensors."),
    "empty-object": _error("An object has no bytes.", _COPY_AGAIN),
    "git-lfs-pointer": _error("A Git LFS pointer is there in place of the file.", _FROM_HUB),
    "web-page": _error("A web page is there in place of the file.", _FROM_HUB),
    "not-safetensors": _error("A *.safetensors object is something else.", _SAVE_AGAIN),
    "cut-off": _error("An object is shorter than its header says.", _COPY_AGAIN),
    "bytes-left-over": _error("An object is longer than its header says.", _SAVE_AGAIN),
    "bad-header": _error("The header of a safetensors file breaks the rules of the format.", _SAVE_AGAIN),
    "archived": _error(
        "An object is archived, so it cannot be read.", "Restore it, or copy it to the storage class STANDARD."
    ),
    "changed-while-read": _error(
        "An object was replaced or deleted while it was checked.",
        "Let whatever writes under the prefix end first; give each training run a prefix of its own.",
    ),
    "several-saves": _error(
        "Shards of several saves are there, and no index says which count.", "Delete the shards of the older save."
    ),
    "old-shards": _warning(
        "There are weights beside the model, perhaps of an earlier save.",
        "Delete them if nothing needs them: they are copied along, and what is done with them is not documented.",
    ),
    "whole-beside-shards": _warning(
        "A whole model is beside shards.", "Delete one of the two: which of them is taken is not documented."
    ),
    "second-copy": _warning(
        "A folder holds more weights, which would be copied as well.",
        "It is allowed. Delete the folder if the sync takes too long.",
    ),
    "copied-along": _warning(
        "There are optimizer states, checkpoints or weights in another format, which would be copied as well.",
        "Leave them out of the prefix: the sync would take longer than it has to.",
    ),
    "adapter-only": _warning(
        "There is only an adapter (LoRA), not a whole model.",
        "Merge it into its base model, unless your contract says that adapters are served.",
    ),
    "tokenizer-missing": _warning(
        "There is no tokenizer file.", "Save the tokenizer beside the weights, unless you know that it is not needed."
    ),
    "header-not-read": _warning(
        "A header, the index or the configuration is too large to be checked.",
        "Nothing has to be done; the file has not been checked.",
    ),
    "unknown-dtype": _warning(
        "A tensor has a dtype that this check does not know.", "Correct it unless you know that it is supported."
    ),
    # Index
    "bad-index": _error("The index of the shards cannot be used.", _SAVE_AGAIN),
    "shard-missing": _error("A shard is missing.", "Copy the missing shard."),
    "tensor-missing": _error("The index names a tensor that is in no shard.", _SAVE_AGAIN),
    "tensor-in-another-shard": _error("The index names another shard than the one a tensor is in.", _SAVE_AGAIN),
    "tensor-in-two-shards": _error("A tensor is in two shards.", _SAVE_AGAIN),
    "shard-not-in-index": _error("The index does not name a shard of its own set.", _SAVE_AGAIN),
    "tensor-not-in-index": _warning(
        "A shard has a tensor that the index does not name.", "Save the model again, unless you know that it is right."
    ),
    "no-index": _warning(
        "There are shards, and no index of them.", "Copy model.safetensors.index.json, which is saved with the shards."
    ),
    "other-index": _warning("A further index names what is not there.", "Delete it, or copy what it names."),
    # Config
    "no-config": _error("There is no config.json.", "Copy the config.json that is saved with the weights."),
    "bad-config": _error("config.json is not a JSON object.", "Copy the config.json that is saved with the weights."),
    "other-architecture": _error(
        "The weights are of another architecture than the one that they are meant for.",
        "Correct model_arch_id, or the URI.",
    ),
    "unknown-architecture": _warning(
        "Whether the weights are of the architecture is not known.", "Compare config.json with the architecture."
    ),
    "vocabulary-too-small": _error(
        "The embedding has fewer rows than config.json says.", "Save the model and its configuration together."
    ),
    "vocabulary-larger": _warning(
        "The embedding has more rows than config.json says.",
        "Set vocab_size, or save model and configuration together.",
    ),
    "hidden-size": _error(
        "A tensor has another hidden size than config.json says.", "Save the model and its configuration together."
    ),
    "layer-missing": _error("Layers that config.json counts have no tensors.", _SAVE_AGAIN),
    "more-layers": _warning("There are more layers than config.json counts.", "Correct num_hidden_layers if need be."),
    "no-output-head": _warning(
        "config.json says that embedding and output are not tied, and there is no output.", _SAVE_AGAIN
    ),
    "empty-weight": _error(
        "A weight has a zero in its shape.",
        "Gather the weights before they are saved (with DeepSpeed ZeRO-3: stage3_gather_16bit_weights_on_model_save).",
    ),
    "empty-tensor": _warning(
        "A tensor has a zero in its shape.", "Save the model again, unless it is meant to be empty."
    ),
    "scales-missing": _error("Quantized blocks have no scales, or scales have no blocks.", _SAVE_AGAIN),
    "quantization": _warning(
        "quantization_config and the dtypes of the tensors contradict each other.",
        "Save the model and its configuration together.",
    ),
    "digest-differs": _error(
        "The objects under the prefix are not those that the digest was made of.",
        "Find out what wrote there since; if it was meant, give the new digest.",
    ),
    # Values
    "not-finite": _error("Each value of a sample is NaN or infinite.", "Train again: the run diverged."),
    "some-not-finite": _warning("Some values of a sample are NaN or infinite.", "Look at the training's loss."),
    # Bucket
    "no-bucket-policy": _error("The bucket has no policy.", "Add the statement that the command bucket-policy prints."),
    "access-not-granted": _error(
        "The bucket policy does not grant the role what it needs.",
        "Add the statement that the command bucket-policy prints.",
    ),
    "access-denied": _error(
        "A statement of the bucket policy denies the role what it needs.", "Exempt the role from that statement."
    ),
    "access-unclear": _warning(
        "Whether the role may read is not known.", "Add the statement that the command bucket-policy prints."
    ),
    "policy-unreadable": _warning(
        "The bucket policy cannot be read.", "Allow s3:GetBucketPolicy to the AWS connection, or check it by hand."
    ),
    "kms": _warning("Objects are encrypted with a KMS key.", "The key's own policy must grant the role kms:Decrypt."),
    "requester-pays": _warning(
        "The requester pays in this bucket.", "Turn it off: a reader who does not offer to pay is refused."
    ),
    # What is all right
    "files": Kind(Level.OK, "The files are complete and well-formed.", ""),
    "index": Kind(Level.OK, "The index and the shards agree.", ""),
    "config": Kind(Level.OK, "The configuration and the tensors agree.", ""),
    "values": Kind(Level.OK, "The values of the sample are finite.", ""),
    "bucket": Kind(Level.OK, "The role may read the bucket.", ""),
}


def finding(code: str, what: str, *, key: str | None = None, tensor: str | None = None) -> Finding:
    """Make a finding.

    :param code: its kind.
    :param what: what is wrong here, as a sentence.
    :param key: key of the object it is about.
    :param tensor: name of the tensor it is about.
    """
    kind = KINDS[code]
    message = f"{what} {kind.remedy}".rstrip()
    return Finding(kind.level, code, key and plain(key), tensor and plain(tensor), message)


def demoted(found: Finding, reason: str) -> Finding:
    """The same as a warning, because it is not about the model itself.

    :param found: the finding.
    :param reason: why it is not, as a sentence.
    """
    return found._replace(level=Level.WARNING, message=f"{found.message} {reason}")


def plain(text: str) -> str:
    """A name from the bucket as a message shows it: printable, in one line, and not at any length.

    :param text: the name.
    """
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _MAX_NAME else f"{shown[:_MAX_NAME]}…"


def some(names: Iterable[str], count: int = 3) -> str:
    """Some names, and how many more there are.

    :param names: all of them.
    :param count: how many to show.
    """
    shown = sorted(names)
    more = f" and {len(shown) - count} more" if len(shown) > count else ""
    return ", ".join(plain(name) for name in shown[:count]) + more


def bounded(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Errors first, then warnings, and no more than :data:`MAX_OF_A_KIND` of each code and level.

    :param findings: all of them.
    """
    ranked = sorted(findings, key=lambda each: list(Level).index(each.level))
    counts = Counter((each.level, each.code) for each in ranked)
    taken: Counter[tuple[Level, str]] = Counter()
    result = []
    for each in ranked:
        kind = each.level, each.code
        taken[kind] += 1
        if taken[kind] <= MAX_OF_A_KIND:
            result.append(each)
        elif taken[kind] == MAX_OF_A_KIND + 1:
            more = counts[kind] - MAX_OF_A_KIND
            result.append(Finding(each.level, each.code, None, None, f"There are {more} more findings of this kind."))
    return tuple(result)
