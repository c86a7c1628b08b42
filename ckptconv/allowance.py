"""What the user accepts by name although it is not exact, and whether anything needed it."""

from __future__ import annotations

from ckptconv.errors import CkptconvError
from ckptconv.spelling import option


class Allowance(frozenset[str]):
    """Approximations that the user accepts by name; ``needed`` are those that something needed."""

    needed: set[str]

    def __contains__(self, name: object) -> bool:
        found = super().__contains__(name)
        if found:
            vars(self).setdefault("needed", set()).add(name)
        return found

    def check(self) -> None:
        """Raise CkptconvError for an entry that nothing needed, once all layers are read."""
        needed = vars(self).get("needed", set())
        if stray := sorted(set(self) - needed):
            raise CkptconvError(
                f"{option('allow', stray)}: nothing in the file needs it",
                expected=" or ".join(sorted(needed)) or "none: all of it is read exactly",
            )
