"""What stands on either side of an entry of ``--map``: a name, perhaps with a slice and ``.T``."""

from __future__ import annotations

import re
from typing import NamedTuple

from ckptconv.errors import CkptconvError
from ckptconv.spelling import option
from ckptconv.tensors.regions import Region, whole

_TERM = re.compile(r"(?P<name>.+?)(?P<slices>\[[^\[\]]*\])?(?P<turned>\.T)?", re.DOTALL)
_SLICE = re.compile(r"\s*(\d*)\s*:\s*(\d*)\s*")


class Term(NamedTuple):
    """A module, a parameter, or a part of one, as a user wrote it.

    Attributes:
        text: all of it.
        slices: ``[0:64, 32:]``.
        turned: ``.T``, all axes reversed.
    """

    text: str
    name: str
    slices: str | None = None
    turned: bool = False

    def region_of(self, shape: tuple[int, ...]) -> Region:
        """Return what this is of a source's parameter."""
        bounds = self._bounds()
        region = [
            (start, size if stop is None else stop)
            for (start, stop), size in zip(bounds, shape, strict=False)
        ]
        rest = whole(shape)[len(bounds) :]
        inside = all(a < b <= n for (a, b), n in zip(region, shape, strict=False))
        if len(bounds) > len(shape) or not inside:
            raise CkptconvError(
                f"{option('map')}: a slice outside", tensor=self.text, expected=f"within {shape}"
            )
        return (*region, *rest)

    def region_to_fill(self, shape: tuple[int, ...]) -> Region:
        """Return where values of this shape go in a parameter of the target."""
        bounds = self._bounds()
        bounds += [(0, None)] * (len(shape) - len(bounds))
        return tuple(
            (start, start + (shape[axis] if axis < len(shape) else 0) if stop is None else stop)
            for axis, (start, stop) in enumerate(bounds)
        )

    def _bounds(self) -> list[tuple[int, int | None]]:
        if self.slices is None:
            return []
        matches = [_SLICE.fullmatch(part) for part in self.slices[1:-1].split(",")]
        if not all(matches):
            raise CkptconvError(
                f"{option('map')}: not a slice", tensor=self.text, expected="such as [0:64, 32:]"
            )
        return [(int(m[1] or 0), int(m[2]) if m[2] else None) for m in matches if m]


def parsed(text: str) -> Term:
    """Return what a text says.

    Raises:
        CkptconvError: it is empty.
    """
    match = _TERM.fullmatch(text)
    if match is None:
        raise CkptconvError(f"{option('map')}: an empty name")
    return Term(text, match["name"], match["slices"], bool(match["turned"]))
