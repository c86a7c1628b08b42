"""Axes: of parameters, from one framework's to another's; sizes that are told and that fit."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from ckptconv.graph.forms import Forms, slots
from ckptconv.graph.gates import permutation
from ckptconv.graph.kinds import KINDS, Kind
from ckptconv.tensors.ops import reshape, transpose
from ckptconv.tensors.tensor import Tensor


def realign(
    tensor: Tensor,
    src: str,
    dst: str,
    products: Mapping[str, str] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Tensor:
    """Bring a tensor from axes ``src`` to axes ``dst``; ``1`` axes are dropped and inserted.

    Args:
        products: letter of an axis → the letters of the axes that it is the product of.
        sizes: of letters that ``src`` does not tell.
    """
    if src == dst or "*" in src:
        return tensor
    apart = {a: parts for a, parts in (products or {}).items() if (a in src) != (a in dst)}
    known = {**(sizes or {}), **dict(zip(src, tensor.shape, strict=True))}
    _factor(known, apart)
    bare_src, bare_dst = _expand(src, apart), _expand(dst, apart)
    bare = reshape(tensor, tuple(known[axis] for axis in bare_src))
    bare = transpose(bare, permutation(bare_src, bare_dst))
    known |= {axis: prod(known[part] for part in parts) for axis, parts in apart.items()}
    return reshape(bare, tuple(1 if axis == "1" else known[axis] for axis in dst))


def _expand(axes: str, products: Mapping[str, str]) -> str:
    return "".join(products.get(axis, axis) for axis in axes if axis != "1")


def _factor(sizes: dict[str, int], products: Mapping[str, str]) -> None:
    """Add the size of the one factor of a product that is not known yet."""
    for axis, parts in products.items():
        missing = [part for part in parts if part not in sizes]
        if axis in sizes and len(missing) == 1:
            others = prod(sizes[part] for part in parts if part in sizes)
            sizes[missing[0]] = sizes[axis] // max(others, 1)


def sizes_said(kind: Kind, said: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes of axes that only hyper-parameters tell."""
    found = {letter: said.get(hyper) for hyper, letter in kind.sizes.items()}
    return {letter: n for letter, n in found.items() if type(n) is int and n > 0}


def sizes_of(
    kind: Kind, shapes: Mapping[str, tuple[int, ...]], said: Mapping[str, Any]
) -> dict[str, int]:
    """Return letter → size of canonical parameters."""
    sizes = sizes_said(kind, said)
    for param in kind.params:
        sizes.update(zip(param.axes, shapes.get(param.name, ()), strict=False))
    _factor(sizes, kind.products)
    return sizes


def fits(
    kind: str,
    shapes: Mapping[str, tuple[int, ...]],
    forms: Forms,
    said: Mapping[str, Any] | None = None,
) -> bool:
    """Tell whether parameters of these names and shapes can be a layer of this kind.

    Args:
        shapes: name in the framework whose column this is → shape.
        said: hyper-parameters that the source records.
    """
    rows = {slot.name: (param, slot) for param, slot in slots(kind, forms) if slot}
    if not shapes or not set(shapes) <= set(rows):
        return False
    present = {rows[name][0].name for name in shapes}
    sizes: dict[str, Any] = {"1": 1, **sizes_said(KINDS[kind], said or {})}
    for name, (param, slot) in rows.items():
        if name not in shapes:
            # Counters (no axes) are younger than the layers: old files have none.
            if not param.optional or (param.axes and slot.always):
                return False
            continue
        if param.needs and param.needs not in present:
            return False
        shape = shapes[name]
        found = {"*": shape} if slot.axes == "*" else dict(zip(slot.axes, shape, strict=False))
        if slot.axes != "*" and len(slot.axes) != len(shape):
            return False
        if any(sizes.setdefault(axis, n) != n for axis, n in found.items()):
            return False
    return _whole(KINDS[kind].products, sizes)


def lacking(size: int, window: int, stride: int) -> int:
    """Return how many places the last window of an axis lacks, which padding ``same`` adds."""
    return max((-(-size // stride) - 1) * stride + window - size, 0)


def _whole(products: Mapping[str, str], sizes: dict[str, Any]) -> bool:
    """Tell whether all factors of all products are known, and are factors."""
    _factor(sizes, products)
    return all(
        all(part in sizes for part in parts)
        and sizes.get(axis, n := prod(sizes[part] for part in parts)) == n
        for axis, parts in products.items()
    )
