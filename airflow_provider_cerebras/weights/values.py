"""A sample of the values: a run that diverged leaves weights that are NaN or infinite everywhere."""

from __future__ import annotations

import re
from array import array
from sys import byteorder
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_cerebras.weights.findings import Finding, finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_cerebras.weights.files import Model

TENSORS_OF_A_SHARD = 2
BYTES_OF_A_TENSOR = 8 * 1024
# A mask may be infinite on purpose.
_BUFFER = re.compile(r"mask|inv_freq|cache|attn\.bias$")

# Of each dtype: the code of an unsigned integer of its size, the bits of its exponent, and for the one type that has no
# infinity the bits that all have to be set.
_NOT_FINITE = {
    "F64": ("Q", 0x7FF0_0000_0000_0000),
    "F32": ("I", 0x7F80_0000),
    "F16": ("H", 0x7C00),
    "BF16": ("H", 0x7F80),
    "F8_E5M2": ("B", 0x7C),
    "F8_E4M3": ("B", 0x7F),
}


class Sample(NamedTuple):
    """Number of bytes of a tensor that are checked.

    :param key: the object they are in.
    :param tensor: the tensor.
    :param dtype: its dtype.
    :param begin: the first byte of the object.
    :param end: the byte after the last one.
    """

    key: str
    tensor: str
    dtype: str
    begin: int
    end: int


def samples_of(model: Model) -> list[Sample]:
    """Return the ranges to read: the beginnings of a few tensors of each shard, spread over it.

    :param model: the files that the model is made of.
    """
    result = []
    for key, header in model.headers.items():
        floats = [
            Sample(key, name, tensor.dtype, header.data_begin + tensor.begin, header.data_begin + tensor.end)
            for name, tensor in header.tensors.items()
            if tensor.dtype in _NOT_FINITE and tensor.end > tensor.begin
        ]
        # Weights tell more than buffers, in which an infinite value may be meant.
        floats.sort(key=lambda each: (bool(_BUFFER.search(each.tensor)), each.begin))
        count = min(len(floats), TENSORS_OF_A_SHARD)
        chosen = [floats[position * len(floats) // count] for position in range(count)]
        result += [each._replace(end=min(each.end, each.begin + BYTES_OF_A_TENSOR)) for each in chosen]
    return result


def examine_values(contents: Mapping[Sample, bytes]) -> Iterator[Finding]:
    """Find values that are not finite.

    :param contents: the bytes of each sample.
    """
    for sample, content in contents.items():
        bad, count = _not_finite(sample.dtype, content)
        if not bad:
            continue
        what = f"{bad} of {count} values of a sample are NaN or infinite."
        everywhere = bad == count and not _BUFFER.search(sample.tensor)
        code = "not-finite" if everywhere else "some-not-finite"
        yield finding(code, what, key=sample.key, tensor=sample.tensor)


def _not_finite(dtype: str, content: bytes) -> tuple[int, int]:
    """The number of values, and of those that are not finite."""
    code, exponent = _NOT_FINITE[dtype]
    values = array(code)
    values.frombytes(content[: len(content) // values.itemsize * values.itemsize])
    if byteorder == "big":
        values.byteswap()
    return sum(value & exponent == exponent for value in values), len(values)
