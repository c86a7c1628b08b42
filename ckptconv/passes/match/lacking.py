"""Why a module has no counterpart: what the likeliest one on the other side has more or less."""

from __future__ import annotations

from collections.abc import Sequence

from ckptconv.passes.match.structure import Module, Structure, without_dtypes

ANOTHER_DTYPE = "of another dtype"
WITHOUT_BUFFERS = "buffers, which a list of trainable parameters leaves out"
_BUFFERS = {"running_mean", "running_var", "num_batches_tracked", "moving_mean", "moving_variance"}


class Rest:
    """The modules of one side that have no counterpart on the other.

    Args:
        side: ``source`` or ``target``.
    """

    def __init__(self, side: str, modules: Sequence[Module]) -> None:
        self._side = side
        self._paths = {module.path: module for module in modules}
        self._shapes: dict[Structure, dict[str, Module]] = {}
        self._learned: dict[Structure, dict[str, Module]] = {}
        for module in modules:
            for shapes in map(without_dtypes, module.structures):
                self._shapes.setdefault(shapes, {})[module.path] = module
                self._learned.setdefault(_learned(shapes), {})[module.path] = module

    def why_none(self, module: Module) -> str:
        """Return why none of these is the counterpart of a module of the other side."""
        for shapes in map(without_dtypes, module.structures):
            if other := _likest(module, self._shapes.get(shapes, {})):
                return f"{self._has(other)} {ANOTHER_DTYPE}: {other.describe()}"
        for shapes in map(without_dtypes, module.structures):
            if (learned := _learned(shapes)) and (
                other := _likest(module, self._learned.get(learned, {}))
            ):
                return self._apart(other, shapes)
        other = self._paths.get(module.path)
        if other and any(_is_part(shapes, other) for shapes in module.structures):
            return self._apart(other, without_dtypes(module.structures[0]))
        none = f"the {self._side} has no module of {module.describe()}"
        return none + self._advice(without_dtypes(module.structures[0]))

    def _has(self, other: Module) -> str:
        return f"the {self._side} has {other.path or '(root)'}"

    def _apart(self, other: Module, shapes: Structure) -> str:
        there = min(map(without_dtypes, other.structures), key=lambda each: len(each ^ shapes))
        less, more = (", ".join(map(str, sorted(s))) for s in (shapes - there, there - shapes))
        said = " and ".join(filter(None, (less and f"without {less}", more and f"with {more} too")))
        return f"{self._has(other)} {said}{self._advice(shapes - there)}"

    def _advice(self, lacking: Structure) -> str:
        buffers = self._side == "target" and lacking and not _learned(lacking)
        return f": {WITHOUT_BUFFERS}" if buffers else ""


def _learned(structure: Structure) -> Structure:
    return frozenset(param for param in structure if param.name not in _BUFFERS)


def _likest(module: Module, others: dict[str, Module]) -> Module | None:
    return others.get(module.path) or next(iter(others.values()), None)


def _is_part(shapes: Structure, other: Module) -> bool:
    one, two = without_dtypes(shapes), without_dtypes(other.structures[0])
    return one < two or two < one
