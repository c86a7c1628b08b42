"""``diff``: where two checkpoints differ, tensor by tensor and gate by gate."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ckptconv import api, dialects
from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import AmbiguousKindError, CkptconvError
from ckptconv.graph.graph import Graph
from ckptconv.tensors.ops import divide
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.counterparts import Item, Names, items
from ckptconv.verification.difference import Difference, compare_tensors
from ckptconv.verification.pairing import pair
from ckptconv.verification.results.tensors import DiffReport, TensorDiff, describe
from ckptconv.verification.stored_weights import Stacked, stacking

Path = str | os.PathLike[str]


def diff(
    a: Path,
    b: Path,
    *,
    atol: float = 0.0,
    kinds: Mapping[str, str] | None = None,
    target_kinds: Mapping[str, str] | None = None,
    rename: Iterable[tuple[str, str]] = (),
) -> DiffReport:
    """Compare two checkpoints.

    Two files of one framework are compared tensor by tensor under their own names, bit for bit.
    Those of two frameworks, or with ``rename``, meet in the canonical graph, where layers are
    paired by path or, failing that, by kind, shapes and order; what only one side can have (a
    counter of training steps) is compared with what its absence means. Files of any size are read
    in blocks.

    Args:
        atol: the largest absolute difference that is still the same.
        kinds, rename: see ``load``; of ``a``.
        target_kinds: of ``b``.

    Raises:
        ContainerError: a file that cannot be read.
        DialectError: a file of another framework whose names cannot be explained.
    """
    one, other = api.inspect(a), api.inspect(b)
    spoken = dialects.detect(one), dialects.detect(other)
    rename = tuple(rename)
    if spoken[0] == spoken[1] and not rename:
        return _raw(one, other, spoken[0], atol, kinds)
    left = api.load(a, kinds=kinds, rename=rename)
    return diff_graphs(left, load_target(b, left, target_kinds), atol=atol)


def diff_graphs(a: Graph, b: Graph, *, atol: float = 0.0) -> DiffReport:
    """Compare two graphs by their canonical parameters."""
    paired, names = pair(a, b), Names(a, b)
    found: list[TensorDiff] = []
    left_out = [f"{g.path}: left out: {n}: {r}" for g in (a, b) for n, r in g.omitted.items()]
    for one, other in paired.both:
        met = items(one, other, names, (a.dialect, b.dialect))
        found += [compare_item(item) for item in met.equal]
        left_out += [f"{name}: the other framework has none" for name in met.left_out]
    for part in paired.only_a:
        found += [lonely(names.of(part, n, t), t, first=True) for n, t in part.params.items()]
    for part in paired.only_b:
        found += [lonely(names.of(part, n, t), t, first=False) for n, t in part.params.items()]
    return DiffReport(describe(a), describe(b), found, atol, left_out)


def load_target(path: Path, source: Graph, kinds: Mapping[str, str] | None) -> Graph:
    """Load the second of two files; what it leaves open is read as the first one's kind.

    The kind decides names and axes only: were it wrong, values would not be equal.

    Raises:
        AmbiguousKindError: the first file has no layer of that path either.
    """
    known = dict(kinds or {})
    try:
        return api.load(path, kinds=known)
    except AmbiguousKindError as error:
        where = error.tensor or ""
        said = {layer.path: layer.kind for layer in source if not layer.recurrent}
        if where in known or where not in said:
            raise
    return load_target(path, source, {**known, where: said[where]})


def compare_item(item: Item) -> TensorDiff:
    """Compare two tensors; a recurrent one that differs, by gates."""
    a, b = item.a, item.b
    found = TensorDiff(item.name_a, item.name_b, *_facts(a, b), how=item.how)
    if a.shape == b.shape:
        found.difference = compare_tensors(a, b)
        if found.difference.differing and item.gates:
            found.gates = _by_gate(a, b, item.gates, item.axis)
    return found


def lonely(name: str, tensor: Tensor, *, first: bool) -> TensorDiff:
    """Describe a tensor that has no counterpart."""
    shape, dtype = list(tensor.shape), tensor.dtype.name
    if first:
        return TensorDiff(name, "", (shape, None), (dtype, None))
    return TensorDiff("", name, (None, shape), (None, dtype))


def _raw(
    a: Checkpoint, b: Checkpoint, dialect: str, atol: float, kinds: Mapping[str, str] | None
) -> DiffReport:
    gates = _stacking(a, kinds)
    found: list[TensorDiff] = []
    for name, tensor in a.tensors.items():
        if name in b.tensors:
            order, axis = gates.get(name, Stacked("", 0))
            item = Item(name, name, tensor, b.tensors[name], order, axis=axis)
            found.append(compare_item(item))
        else:
            found.append(lonely(name, tensor, first=True))
    found += [lonely(n, t, first=False) for n, t in b.tensors.items() if n not in a.tensors]
    sides = [{"path": s.path, "container": s.container, "framework": dialect} for s in (a, b)]
    left_out = [f"{s.path}: left out: {n}: {r}" for s in (a, b) for n, r in s.omitted.items()]
    return DiffReport(sides[0], sides[1], found, atol, left_out)


def _stacking(checkpoint: Checkpoint, kinds: Mapping[str, str] | None) -> Mapping[str, Stacked]:
    """Return where gates stand, for files that can be understood; others are compared plainly."""
    try:
        return stacking(api.load(checkpoint.path, kinds=kinds))
    except CkptconvError:
        return {}


def _facts(a: Tensor, b: Tensor) -> tuple[tuple[list[int], list[int]], tuple[str, str]]:
    return (list(a.shape), list(b.shape)), (a.dtype.name, b.dtype.name)


def _by_gate(a: Tensor, b: Tensor, order: str, axis: int) -> dict[str, Difference]:
    blocks = zip(divide(a, axis, len(order)), divide(b, axis, len(order)), strict=True)
    found = {
        letter: compare_tensors(one, other)
        for letter, (one, other) in zip(order, blocks, strict=True)
    }
    return {letter: gate for letter, gate in found.items() if gate.differing}
