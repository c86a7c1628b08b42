"""Element types by name: numpy's own, and those of ``ml_dtypes``, imported when one is met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np

from ckptconv.errors import CkptconvError
from ckptconv.tensors.regions import DType

NARROW = (
    "bfloat16",
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
"""The types that checkpoints hold and numpy does not know."""


@lru_cache
def named(name: str) -> DType:
    """Return the dtype that a name such as ``float32`` or ``bfloat16`` stands for.

    Raises:
        CkptconvError: one of ``NARROW`` that the installed ml_dtypes is too old for.
        TypeError: no dtype of that name.
    """
    if name not in NARROW:
        return np.dtype(name)
    import ml_dtypes

    if not hasattr(ml_dtypes, name):
        expected = "a newer ml_dtypes, which has these numbers"
        raise CkptconvError("unknown numbers", expected=expected, found=name)
    return np.dtype(getattr(ml_dtypes, name))


@lru_cache
def name_of(dtype: DType) -> str:
    """Return the name of a dtype, which numpy puts together anew each time."""
    return dtype.name


def is_bfloat16(dtype: DType) -> bool:
    return name_of(dtype) == "bfloat16"


@lru_cache
def is_float(dtype: DType) -> bool:
    """Tell whether a dtype holds real floating-point numbers, ``NARROW`` included."""
    return dtype.kind == "f" or dtype.name in NARROW


class DTypes(Mapping[str, DType]):
    """What a format calls its element types → their dtypes.

    Args:
        names: the format's name → the name of the dtype. Where two stand for one dtype, the
            first is the one that is written.
    """

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names
        self._called = {dtype: name for name, dtype in reversed(names.items())}

    def __getitem__(self, name: str) -> DType:
        return named(self._names[name])

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def name(self, dtype: DType) -> str | None:
        """Return what the format calls a dtype; None where it has none."""
        return self._called.get(name_of(dtype))
