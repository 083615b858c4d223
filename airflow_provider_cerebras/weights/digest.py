r"""The digest of weights: one value that changes when an object under the prefix is added, removed or replaced.

It is made of a listing alone, so no weights are read. One line stands for each object: a JSON array of its key relative
to the prefix (a string), its size in bytes (an integer) and its ETag without quotes (a string), with no spaces, with
every character outside ASCII escaped as JSON does it (``\uXXXX``, lower-case), and with a line feed at its end. The
digest is the SHA-256 of the sorted lines, as 64 hexadecimal digits. Neither the bucket nor the prefix is part of it.

An ETag depends on how an object was written: in how many parts, and how it is encrypted. The same bytes that are
written again can so have another digest; other bytes never have the same one, as long as S3 gives them another ETag.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from airflow_provider_cerebras.api.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_cerebras.weights.objects import StoredObject


_DIGEST = re.compile("[0-9a-f]{64}")


def validate_digest(digest: object, argument: str = "weights_digest") -> str:
    """Return ``digest`` if it is one.

    :param digest: the digest as given by the user.
    :param argument: the name of the argument that it came in, for the message.
    :raises ValueError: if it is not 64 hexadecimal digits.
    """
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ValueError(f"{argument}: {shown(digest)} is not a digest of 64 hexadecimal digits.")
    return digest


def digest_of(objects: Iterable[StoredObject]) -> str:
    """Return the digest of the objects under a prefix, 64 hexadecimal digits.

    :param objects: all of them, in any order.
    """
    lines = sorted(json.dumps([each.key, each.size, each.etag], separators=(",", ":")) + "\n" for each in objects)
    return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()
