"""From the object in a torch file to a Checkpoint."""

from __future__ import annotations

from ckptconv.checkpoint import MAX_TENSORS, Checkpoint, Module
from ckptconv.codecs.pickle.objects import Instance, Name
from ckptconv.errors import ContainerError
from ckptconv.formats.torch.locate import (
    Place,
    count_tensors,
    find,
    holds_weights,
    is_module,
    members,
    parts,
)
from ckptconv.formats.torch.modules import Tree, join, versions, walk
from ckptconv.formats.torch.packed import class_of, is_packed, unpacked
from ckptconv.formats.torch.tensors import as_tensor, is_tensor
from ckptconv.io.reader import Source

_SHORT = 40


def build(root: object, source: Source, container: str, select: str | None) -> Checkpoint:
    """Return the Checkpoint of what ``torch.save`` was given.

    A list of tensors yields the names ``0``, ``1``, …, and a bare tensor the name ``0``.

    Args:
        root: the pickled object, with tensors as ``torch_objects`` has them.
        select: see ``torch_tree.find``.

    Raises:
        ContainerError: no weights, or tensors that cannot be read.
    """
    places = find(root, select, source.path)
    checkpoint = Checkpoint(container, {})
    fill(checkpoint, _all_contents(places, source.path), source.path)
    if len(places) > 1 or places[0].path:
        checkpoint.metadata["selected"] = select or places[0].name
        checkpoint.notes += [
            f"the weights stand under {place.name!r} in the file" for place in places if place.path
        ]
        _account(checkpoint, root, (), {place.path for place in places}, set())
    return checkpoint


def fill(checkpoint: Checkpoint, tree: Tree, path: str) -> None:
    """Make lazy tensors of what a walk found.

    Raises:
        ContainerError: no tensors, too many, or one that cannot be read.
    """
    if len(tree.values) > MAX_TENSORS:
        found = len(tree.values)
        raise ContainerError("too many entries", file=path, expected=MAX_TENSORS, found=found)
    checkpoint.modules, checkpoint.omitted = tree.modules, tree.omitted
    for name, value in tree.values.items():
        inside = unpacked(name, value) if is_packed(value) else {}
        if not is_tensor(value) and not inside:
            checkpoint.omitted[name] = f"not a tensor: {_kind(value, tree.seen)}"
        if inside and (cls := class_of(value)):
            checkpoint.modules[name] = Module(cls)
        for place, tensor in (inside or {name: value}).items():
            if is_tensor(tensor):
                checkpoint.tensors[place] = as_tensor(tensor, place, path)
    if not checkpoint.tensors:
        raise ContainerError("a state_dict with no tensors in it", file=path)


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


def _account(
    checkpoint: Checkpoint,
    value: object,
    at: tuple[str, ...],
    taken: set[tuple[str, ...]],
    seen: set[int],
) -> None:
    """Say what stands beside the weights, on each level of the paths to them."""
    for key, item in parts(value).items():
        here = (*at, str(key))
        if any(path[: len(here)] == here for path in taken):
            if here not in taken:
                _account(checkpoint, item, here, taken, seen)
        elif at not in taken:
            name = ".".join(here)
            if holds_weights(item):
                checkpoint.notes.append(
                    f"{name!r} holds weights too, which are left out: convert them with "
                    f"--select {name}"
                )
            used = name in checkpoint.tensors or name in checkpoint.omitted
            checkpoint.omitted[f"/{name}" if used else name] = _beside(item, seen)


def _beside(value: object, seen: set[int]) -> str:
    count = count_tensors(value, seen)
    what = f"{count} tensor{'s' * (count != 1)}" if count else _kind(value, seen)
    return f"beside the selected weights: {what}"


def _kind(value: object, seen: set[int]) -> str:
    count = count_tensors(value, seen)
    if count and not is_tensor(value):
        return f"{type(value).__name__} with {count} tensor{'s' * (count != 1)}"
    if isinstance(value, (Instance, Name)):
        return value.class_name if isinstance(value, Instance) else value.full
    plain = isinstance(value, (bool, int, float)) or (
        isinstance(value, str) and len(value) < _SHORT
    )
    return repr(value) if plain else type(value).__name__
