"""Element types by name: numpy's own, and those of ``ml_dtypes``.

What only moves bytes needs a name and a size, and neither of those libraries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from ckptconv.errors import CkptconvError
from ckptconv.tensors.lazy import np

if TYPE_CHECKING:
    import numpy.typing as npt

_BYTES = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")
NARROW = ("bfloat16", *_BYTES)
"""The types that checkpoints hold and numpy does not know."""
_KINDS = {
    **{f"int{8 * size}": ("i", size) for size in (1, 2, 4, 8)},
    **{f"uint{8 * size}": ("u", size) for size in (1, 2, 4, 8)},
    **{f"float{8 * size}": ("f", size) for size in (2, 4, 8)},
    **{f"complex{8 * size}": ("c", size) for size in (8, 16)},
    **dict.fromkeys(_BYTES, ("V", 1)),
    "bfloat16": ("V", 2),
    "bool": ("b", 1),
}
"""Name → the letter that numpy has for such numbers, and the bytes of one."""


class DType:
    """An element type. There is one object for each; numpy takes it wherever it takes a dtype.

    It equals numpy's, and is a key apart from it in mappings: to have numpy's hash is to import it.

    Attributes:
        name: as numpy or ml_dtypes call it.
        kind: numpy's letter: ``i``, ``u``, ``f``, ``c``, ``b``; ``V`` for what it does not know.
        itemsize: bytes of one element.
        little: the same in little-endian order; itself, if it is that.
    """

    def __init__(self, name: str, kind: str, itemsize: int, little: DType | None = None) -> None:
        self.name, self.kind, self.itemsize, self.little = name, kind, itemsize, little or self

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """What numpy knows it as."""
        if self.little is not self:
            return self.little.dtype.newbyteorder(">")
        if self.name not in NARROW:
            return np.dtype(self.name)
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, self.name))

    @cached_property
    def big(self) -> DType:
        """The same in big-endian order; itself, where an element is one byte."""
        if self.itemsize == 1 or self.little is not self:
            return self
        return DType(self.name, self.kind, self.itemsize, self.little)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other
        return isinstance(other, np.dtype | type | str) and bool(self.dtype == other)

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Be the one object of this type in another process too."""
        made: tuple[Any, ...] = (named, (self.name,))
        return made if self.little is self else (getattr, (self.little, "big"))

    def __repr__(self) -> str:
        return self.name if self.little is self else f"big-endian {self.name}"


_KNOWN = {name: DType(name, *row) for name, row in _KINDS.items()}


def named(name: str) -> DType:
    """Return the dtype that a name such as ``float32`` or ``bfloat16`` stands for.

    Raises:
        CkptconvError: one of ``NARROW`` that the installed ml_dtypes is too old for.
        TypeError: no dtype of that name.
    """
    if name in _BYTES and not _has(name):
        expected = "a newer ml_dtypes, which has these numbers"
        raise CkptconvError("unknown numbers", expected=expected, found=name)
    return _KNOWN.get(name) or of(np.dtype(name))


def _has(name: str) -> bool:
    import ml_dtypes

    return hasattr(ml_dtypes, name)


def of(dtype: npt.DTypeLike | DType) -> DType:
    """Return the dtype that numpy has as ``dtype``, in whatever byte order."""
    return dtype if isinstance(dtype, DType) else _of(np.dtype(dtype))


@cache
def _of(dtype: np.dtype[Any]) -> DType:
    little = dtype.newbyteorder("<")
    if dtype != little:
        return _of(little).big
    if (known := _KNOWN.get(dtype.name)) is None:
        known = DType(dtype.name, dtype.kind, dtype.itemsize)
        known.dtype = dtype
    return known


def is_bfloat16(dtype: DType | np.dtype[Any]) -> bool:
    return dtype.name == "bfloat16"


def is_float(dtype: DType | np.dtype[Any]) -> bool:
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
        return self._called.get(dtype.name)
