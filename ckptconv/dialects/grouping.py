"""Dotted names as modules, and the sizes that each module's neighbours have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager

from ckptconv.checkpoint import Module
from ckptconv.dialects.evidence import hint_of
from ckptconv.errors import AmbiguousKindError
from ckptconv.graph.hints import KindHint
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor

Groups = dict[str, dict[str, Tensor]]
_INNER = "bn2d"
"""What MindSpore's BatchNorm3d calls the BatchNorm2d that it holds; a user may call one so too."""
_ATTENTION = {"in_proj_weight", "q_proj_weight"}


def modules(
    tensors: Mapping[str, Tensor],
    kinds: Mapping[str, KindHint],
    each: AbstractContextManager[None],
    classes: Mapping[str, Module],
) -> Groups:
    """Group names by module; parameters of a known sub-module join its parent's group.

    Args:
        classes: module → what it is, where the source tells.
        each: gathers the refusal of a module that may be one or two.
    """
    groups: Groups = {}
    for name, tensor in tensors.items():
        path, dot, leaf = name.rpartition(".")
        if dot and not (path and leaf):  # a dot that divides nothing belongs to the name
            path, leaf = "", name
        groups.setdefault(path, {})[leaf] = tensor
    for path in list(groups):
        parent, _, child = path.rpartition(".")
        joins = child == "out_proj" and bool(_ATTENTION & set(groups.get(parent, {})))
        if child == _INNER and "moving_mean" in groups[path]:
            with each:
                known = classes.get(parent)
                joins = (
                    known.class_name == "BatchNorm3d"
                    if known
                    else _is_inner(path, parent, groups, kinds)
                )
        if joins:
            nested = {f"{child}.{leaf}": tensor for leaf, tensor in groups.pop(path).items()}
            groups.setdefault(parent, {}).update(nested)
    return groups


def _is_inner(path: str, parent: str, groups: Groups, kinds: Mapping[str, KindHint]) -> bool:
    """Tell whether ``bn2d`` is the inside of a BatchNorm3d, which holds nothing else."""
    said = [hint.kind for hint in (hint_of(kinds, parent), hint_of(kinds, path)) if hint]
    if said:
        return "BatchNorm3d" in said
    if any(other.startswith(f"{parent}.") or other == parent for other in groups if other != path):
        return False
    channels = groups[path]["moving_mean"].shape
    before = [*groups][: [*groups].index(path)][::-1]
    kernel = next((t for p in before if (t := groups[p].get("weight")) and t.ndim > 2), None)
    if kernel is not None and channels[0] in kernel.shape[:2]:
        return kernel.ndim == 5
    raise AmbiguousKindError(
        "the file does not tell a BatchNorm3d from a BatchNorm2d that is called bn2d",
        tensor=path,
        kinds=("BatchNorm2d",),
        expected=f"BatchNorm3d as {parent!r} or BatchNorm2d as {path!r}",
        hint=" or ".join(
            option("kinds", said) for said in ({parent: "BatchNorm3d"}, {path: "BatchNorm2d"})
        ),
    )


def inside(groups: Iterable[str]) -> dict[str, str]:
    """Return for each path that holds modules one of them."""
    inner: dict[str, str] = {}
    for path in groups:
        above = path
        while above:
            above = above.rpartition(".")[0]
            inner.setdefault(above, path)
    return inner


def sizes_around(groups: Groups) -> dict[str, tuple[frozenset[int], frozenset[int]]]:
    """Return for each module the sizes that the next known one takes and the last one gave."""
    none = frozenset[int]()
    given = [_sizes(params) for params in groups.values()]
    into, out, following, last = [none] * len(given), [none] * len(given), none, none
    for at in range(len(given) - 1, -1, -1):
        into[at], following = following, given[at][0] or following
    for at, sizes in enumerate(given):
        out[at], last = last, sizes[1] or last
    return dict(zip(groups, zip(into, out, strict=True), strict=True))


def _sizes(params: Mapping[str, Tensor]) -> tuple[frozenset[int], frozenset[int]]:
    """Return the possible sizes of a module's input and output; none where it may be a table."""
    shapes = {name: tensor.shape for name, tensor in params.items()}
    hidden = shapes.get("weight_hh_l0", shapes.get("weight_hh", ()))
    first = shapes.get("weight_ih_l0", shapes.get("weight_ih", ()))
    if len(hidden) == len(first) == 2:
        directions = 1 + any(name.endswith("_reverse") for name in shapes)
        return frozenset(first[1:]), frozenset([hidden[1] * directions])
    weight = shapes.get("weight", shapes.get("in_proj_weight", ()))
    if len(weight) > 2:
        return frozenset(weight[:2]), frozenset(weight[:2])
    if len(weight) == 2 and ("bias" in shapes or "in_proj_weight" in shapes):
        return frozenset(weight[1:]), frozenset(weight[:1])
    flat = frozenset(shape[0] for shape in shapes.values() if len(shape) == 1)
    return (flat, flat) if len(weight) < 2 and len(flat) == 1 else (frozenset(), frozenset())
