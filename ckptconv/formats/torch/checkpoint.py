"""From the object in a torch file to a Checkpoint."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ckptconv.checkpoint import Checkpoint, Module, TorchFacts, join, most_tensors
from ckptconv.codecs.pickle.objects import Instance, Name
from ckptconv.errors import ContainerError, plural
from ckptconv.formats.torch.locate import Place, find, holds_weights
from ckptconv.formats.torch.members import count_tensors, is_module, members, parts
from ckptconv.formats.torch.modules import Tree, versions, walk
from ckptconv.formats.torch.packed import class_of, is_packed, unpacked
from ckptconv.formats.torch.tensors import as_tensor, is_tensor
from ckptconv.io.reader import Source
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

_SHORT = 40


def build(root: object, source: Source, container: str, select: str | None) -> Checkpoint:
    """Return the Checkpoint of what ``torch.save`` was given.

    A list of tensors yields the names ``0``, ``1``, …, and a bare tensor the name ``0``.

    Args:
        root: the pickled object, with tensors as ``tensors`` has them.
        select: see ``locate.find``.

    Raises:
        ContainerError: no weights, or tensors that cannot be read.
    """
    places = find(root, select, source.path)
    checkpoint = filled(container, _all_contents(places, source.path), source)
    if len(places) == 1 and not places[0].path:
        return checkpoint
    beside = _Beside(checkpoint, {place.path for place in places})
    beside.visit(root, ())
    stand = (f"the weights stand under {p.name!r} in the file" for p in places if p.path)
    return replace(
        checkpoint,
        facts=TorchFacts(selected=select or places[0].name),
        omitted={**checkpoint.omitted, **beside.omitted},
        notes=(*stand, *beside.notes),
    )


def filled(container: str, tree: Tree, source: Source) -> Checkpoint:
    """Return lazy tensors of what a walk found.

    Raises:
        ContainerError: no tensors, too many, or one that cannot be read.
    """
    path, most, found = source.path, most_tensors(source), len(tree.values)
    if found > most:
        problem = "too many entries for its size"
        raise ContainerError(problem, file=path, expected=most, found=found)
    tensors: dict[str, Tensor] = {}
    modules, omitted = dict(tree.modules), dict(tree.omitted)
    for name, value in tree.values.items():
        inside = {name: value} if is_tensor(value) else _inside(name, value)
        if not inside:
            omitted[name] = f"not a tensor: {_kind(value, tree.seen)}"
        elif cls := class_of(value):
            modules[name] = Module(cls)
        for place, tensor in inside.items():
            if place in tensors:
                raise ContainerError("two tensors of one name", file=path, tensor=place)
            tensors[place] = as_tensor(tensor, place, path)
    if not tensors:
        raise ContainerError("a state_dict with no tensors in it", file=path)
    return Checkpoint(container, tensors, modules, omitted=omitted)


def _inside(name: str, value: object) -> dict[str, Any]:
    """Return the packed tensors of a value; none where not all of them have a name."""
    inside = unpacked(name, value) if is_packed(value) else {}
    named = {id(tensor) for tensor in inside.values()}
    return inside if inside and len(named) == count_tensors(value) else {}


def with_facts(checkpoint: Checkpoint, **facts: Any) -> Checkpoint:
    """Return a checkpoint that says more of its file; see ``TorchFacts``."""
    known = checkpoint.facts if isinstance(checkpoint.facts, TorchFacts) else TorchFacts()
    return replace(checkpoint, facts=known._replace(**facts))


def _contents(place: Place, path: str) -> Tree:
    """Return name → pickled value, and what the file says of its modules."""
    value = place.value
    if is_module(value):
        return walk(value, path)
    if is_tensor(value):
        return Tree({"0": value})
    if isinstance(value, (list, tuple)):
        return Tree({str(i): item for i, item in enumerate(value)})
    tree = Tree(modules=versions(value))
    for key, item in (members(value) or {}).items():
        tree.put(str(key), item)
    return tree


def _all_contents(places: list[Place], path: str) -> Tree:
    """Return what stands in these places: of several, under the keys that lead to each."""
    if len(places) == 1:
        return _contents(places[0], path)
    whole, ways = Tree(), {place.path[: n + 1] for place in places for n in range(len(place.path))}
    for place in places:
        tree = _contents(place, path)
        for name, value in tree.values.items():
            if (*place.path, name) not in ways:
                whole.put(join(place.name, name), value)
        under = {name: join(place.name, name) for name in tree.omitted.keys() | tree.modules.keys()}
        under[""] = place.name
        whole.modules |= {under[name]: module for name, module in tree.modules.items()}
        whole.omitted |= {under[name]: rule for name, rule in tree.omitted.items()}
    return whole


class _Beside:
    """What stands beside the weights, on each level of the paths to them."""

    def __init__(self, checkpoint: Checkpoint, taken: Collection[tuple[str, ...]]) -> None:
        self.omitted: dict[str, str] = {}
        self.notes: list[str] = []
        self._known = {*checkpoint.tensors, *checkpoint.omitted}
        self._taken, self._seen = taken, set[int]()

    def visit(self, value: object, at: tuple[str, ...]) -> None:
        for key, item in parts(value).items():
            here = (*at, str(key))
            if any(path[: len(here)] == here for path in self._taken):
                if here not in self._taken:
                    self.visit(item, here)
            elif at not in self._taken:
                self._leave_out(".".join(here), item)

    def _leave_out(self, name: str, item: object) -> None:
        if holds_weights(item):
            self.notes.append(
                f"{name!r} holds weights too, which are left out: convert them with "
                f"{option('select', name)}"
            )
        self.omitted[f"/{name}" if name in self._known else name] = _beside(item, self._seen)


def _beside(value: object, seen: set[int]) -> str:
    count = count_tensors(value, seen)
    what = plural(count, "tensor") if count else _kind(value, seen)
    return f"beside the selected weights: {what}"


def _kind(value: object, seen: set[int]) -> str:
    count = count_tensors(value, seen)
    if count and not is_tensor(value):
        return f"{type(value).__name__} with {plural(count, 'tensor')}"
    if isinstance(value, (Instance, Name)):
        return value.class_name if isinstance(value, Instance) else value.full
    plain = isinstance(value, (bool, int, float)) or (
        isinstance(value, str) and len(value) < _SHORT
    )
    return repr(value) if plain else type(value).__name__
