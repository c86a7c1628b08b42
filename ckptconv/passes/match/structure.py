"""Both sides of a matching as shapes alone: modules, and groups that shapes cannot tell apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Param(NamedTuple):
    """A parameter below its module: own name, shape, and dtype (``""`` where nobody says)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, str(self.shape), self.dtype)))


Structure = frozenset[Param]
"""All parameters that a module holds itself."""


def without_dtypes(structure: Structure) -> Structure:
    return frozenset(param._replace(dtype="") for param in structure)


@dataclass(frozen=True)
class Module:
    """A module of either side.

    Attributes:
        path: dotted; ``""`` is the root.
        structures: what it can be: a layer of unknown kind becomes different parameters by kind,
            and a tied parameter may be stored or not; the fullest first.
        tensors: what is equal for tensors that are one; a module of which all are other modules'
            too is a copy.
    """

    path: str
    structures: tuple[Structure, ...]
    tensors: frozenset[Hashable] = frozenset()

    def fits(self, other: Module) -> bool:
        return not set(self.structures).isdisjoint(other.structures)

    def describe(self) -> str:
        return ", ".join(str(param) for param in sorted(self.structures[0]))


@dataclass
class Group:
    """Modules of both sides that shapes alone cannot tell apart.

    Attributes:
        source, target: in the order of their sides.
    """

    source: list[Module]
    target: list[Module]

    @property
    def balanced(self) -> bool:
        return len(self.source) == len(self.target)

    @property
    def paths(self) -> tuple[list[str], list[str]]:
        return [m.path for m in self.source], [m.path for m in self.target]

    @property
    def clean(self) -> bool:
        """Whether no name stands on both sides."""
        source, target = self.paths
        return set(source).isdisjoint(target)

    def admits(self, pairs: Mapping[str, str]) -> bool:
        """Tell whether each module of the source, by its path, fits its target in this group."""
        targets = {module.path: module for module in self.target}
        return all(
            module.path in pairs
            and pairs[module.path] in targets
            and module.fits(targets[pairs[module.path]])
            for module in self.source
        )


def groups(source: Sequence[Module], target: Sequence[Module]) -> list[Group]:
    """Gather the modules of both sides by structure; those without counterpart stand alone.

    Structures that one module can have both are one group.
    """
    parent: dict[Structure, Structure] = {}

    def root(structure: Structure) -> Structure:
        while (above := parent.setdefault(structure, structure)) != structure:
            parent[structure] = structure = parent[above]
        return structure

    wanted = {structure for module in target for structure in module.structures}
    for module in (*source, *target):
        own = [s for s in module.structures if s in wanted] or list(module.structures)
        for structure in own[1:]:
            parent[root(structure)] = root(own[0])
    found: dict[Structure, Group] = {}
    for side, modules in (("source", source), ("target", target)):
        for module in modules:
            own = [s for s in module.structures if s in wanted] or list(module.structures)
            group = found.setdefault(root(own[0]), Group([], []))
            getattr(group, side).append(module)
    return list(found.values())
