"""The parameters of a file by the beginnings and the ends of their names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from ckptconv.tensors.tensor import Tensor

Shape = tuple[int, ...]


class NamedShapes(dict[str, Shape]):
    """Name → shape; looking for a prefix or a suffix takes as long as what it finds."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__((name, tensor.shape) for name, tensor in tensors.items())
        self._names, self._turned = sorted(self), sorted(name[::-1] for name in self)

    def starting(self, prefix: str) -> Iterator[str]:
        """Yield the names that begin so, sorted."""
        return _from(self._names, prefix)

    def ending(self, suffix: str) -> Iterator[str]:
        """Yield the names that end so."""
        return (name[::-1] for name in _from(self._turned, suffix[::-1]))


def _from(names: list[str], prefix: str) -> Iterator[str]:
    for at in range(bisect_left(names, prefix), len(names)):
        if not names[at].startswith(prefix):
            return
        yield names[at]
