"""``diff``: where two checkpoints differ, tensor by tensor and gate by gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptconv import dialects, formats, pipeline
from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph
from ckptconv.options import ReadOptions, StrPath
from ckptconv.spelling import public
from ckptconv.tensors.writer import Progress
from ckptconv.verification.compare import compare_items, lonely
from ckptconv.verification.counterparts import Item, Names, items
from ckptconv.verification.pairing import fold_like, pair
from ckptconv.verification.results.tensors import NONE, DiffReport, TensorDiff, describe, omitted
from ckptconv.verification.sides import (
    SidesKeywords,
    lift_target,
    limit,
    read_target,
    sides,
    without,
)
from ckptconv.verification.stored_weights import stacking

if TYPE_CHECKING:
    from typing_extensions import Unpack

_AS_THEY_ARE = {"source", "select", "kinds"}
"""Options that leave names and values as the file has them."""


@public(SidesKeywords)
def diff(
    a: StrPath,
    b: StrPath,
    *,
    atol: float = 0.0,
    drop: Iterable[str] = (),
    target_drop: Iterable[str] = (),
    progress: Progress | None = None,
    **options: Unpack[SidesKeywords],
) -> DiffReport:
    """Compare two checkpoints.

    Two files of one framework are compared tensor by tensor under their own names, bit for bit.
    Those of two frameworks, or with options that change what is read, meet in the canonical graph,
    where layers are paired by path or, failing that, by kind, shapes and order; what only one side
    can have (a counter of training steps) is compared with what its absence means. Files of any
    size are read once, in pieces.

    Args:
        a: a file.
        b: another one.
        atol: the largest absolute difference that is still the same.
        drop: modules and parameters of ``a`` that the conversion left out.
        target_drop: what ``b`` alone has, as ``fill`` gave it.
        progress: called with the number of bytes of ``a`` just compared.
        options: those of ``load`` for ``a``; for ``b`` with a prefix: ``target_kinds``, ….

    Returns:
        What differs by how much, tensor by tensor and gate by gate.

    Raises:
        ContainerError: a file that cannot be read.
        DialectError: a file of another framework whose names cannot be explained, or nothing of a
            name that is to be left out.
        TypeError: an option that reading does not take.

    Examples:
        >>> [t.verdict for t in diff("model.pt", "model.ckpt").different]  # doctest: +SKIP
    """
    limit("atol", atol)
    source, target = sides("diff", options)
    one, other = formats.read(a, select=source.get("select")), read_target(b, target)
    spoken = [s.get("source") or dialects.detect(f) for f, s in ((one, source), (other, target))]
    kept = not (drop or target_drop or (set(source) | set(target)) - _AS_THEY_ARE)
    if spoken[0] == spoken[1] and kept:
        return _raw(one, other, spoken[0], atol, source, progress)
    reading = ReadOptions(**source)
    left = pipeline.lift(one, reading)
    reading.allow.check()
    both = without(*lift_target(other, left, target), drop, target_drop)
    return diff_graphs(*both, atol=atol, progress=progress)


def diff_graphs(
    a: Graph, b: Graph, *, atol: float = 0.0, progress: Progress | None = None
) -> DiffReport:
    """Compare two graphs by their canonical parameters."""
    a, _ = fold_like(a, b)
    paired, names = pair(a, b), Names(a, b)
    left_out = omitted(a, b)
    equal: list[Item] = []
    for one, other in paired.both:
        met = items(one, other, names, (a.dialect, b.dialect))
        equal += met.equal
        left_out.setdefault("", {}).update(dict.fromkeys(met.left_out, NONE))
    found = compare_items(equal, progress)
    for part in paired.only_a:
        found += [lonely(names.of(part, n, t), t, first=True) for n, t in part.params.items()]
    for part in paired.only_b:
        found += [lonely(names.of(part, n, t), t, first=False) for n, t in part.params.items()]
    return DiffReport(describe(a), describe(b), found, atol, left_out=left_out)


def _raw(
    a: Checkpoint,
    b: Checkpoint,
    dialect: str,
    atol: float,
    options: Mapping[str, Any],
    progress: Progress | None,
) -> DiffReport:
    both = [name for name in a.tensors if name in b.tensors]
    pairs = [Item(n, n, a.tensors[n], b.tensors[n]) for n in both]
    compared = compare_items(pairs, progress)
    different = [name for name, diff in zip(both, compared, strict=True) if not diff.same_bits]
    by_name = dict(zip(both, compared, strict=True)) | _by_gate(a, b, different, options)
    found = [by_name.get(n) or lonely(n, t, first=True) for n, t in a.tensors.items()]
    found += [lonely(n, t, first=False) for n, t in b.tensors.items() if n not in a.tensors]
    sides = [{"path": s.path, "container": s.format, "framework": dialect} for s in (a, b)]
    left_out = {side.path: dict(side.omitted) for side in (a, b)}
    return DiffReport(sides[0], sides[1], found, atol, left_out=left_out)


def _by_gate(
    a: Checkpoint, b: Checkpoint, names: Sequence[str], options: Mapping[str, Any]
) -> dict[str, TensorDiff]:
    """Compare tensors again by gates, where the file can be understood well enough."""
    try:
        gates = stacking(pipeline.lift(a, ReadOptions(**options))) if names else {}
    except CkptconvError:
        return {}
    stacked = [name for name in names if name in gates]
    again = [Item(n, n, a.tensors[n], b.tensors[n], *gates[n]) for n in stacked]
    return dict(zip(stacked, compare_items(again), strict=True))
