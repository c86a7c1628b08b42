"""What must be equal of two counterparts, parameter by parameter, or sum of biases by sum."""

from __future__ import annotations

from typing import NamedTuple

from ckptconv import dialects
from ckptconv.graph.forms import Slot
from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.graph.kinds import KINDS
from ckptconv.passes.cast import recomputed
from ckptconv.tensors.computed import Product, add, cast, holding
from ckptconv.tensors.dtypes import DType
from ckptconv.tensors.provenance import Provenance
from ckptconv.tensors.tensor import FilledTensor, Tensor
from ckptconv.verification.pairing import Part
from ckptconv.verification.reference.forward import GATES

ABSENT = "(none)"
"""What stands for the name of a parameter that a side does not have."""


class Item(NamedTuple):
    """Two tensors that must be equal.

    Attributes:
        name_a, name_b: as each file calls them; ``""`` where it has none.
        gates: the letters of the gates stacked along ``axis``, in order, if any.
        how: what is compared, where that is not the tensors as they are.
        ulps: units in the last place that are no difference; see ``TensorDiff``.
    """

    name_a: str
    name_b: str
    a: Tensor
    b: Tensor
    gates: str = ""
    axis: int = 0
    how: str = ""
    ulps: int = 0

    def turned(self) -> Item:
        """Return the same with the sides exchanged."""
        return self._replace(name_a=self.name_b, name_b=self.name_a, a=self.b, b=self.a)


class Met(NamedTuple):
    """What two parts have to do with each other.

    Attributes:
        equal: what must be equal; of a parameter that one side lacks, what its absence means.
        left_out: parameters that the other side's framework does not have, by the table.
    """

    equal: list[Item]
    left_out: list[str]


def items(a: Part, b: Part, names: Names, frameworks: tuple[str, str]) -> Met:
    """Return what must be equal of two counterparts."""
    left, right = dict(a.params), dict(b.params)
    met = Met([], [])
    kind = _gated(a)
    for suffix in ("", "_reverse") if kind in ("LSTM", "RNN") else ():
        met.equal.extend(_summed(a, left, right, f"_l0{suffix}", names))
    for name in [name for name in left if name in right]:
        one, other = _alike(left.pop(name), right.pop(name), names)
        gates = GATES[kind] if kind and "hr" not in name else ""
        item = Item(names.of(a, name, one), names.of(b, name, other), one, other, gates)
        product = any(_is_product(tensor) for tensor in (one, other))
        met.equal.append(item._replace(how="the exact product", ulps=1) if product else item)
    for name, tensor in left.items():
        if _absent(a, name, frameworks[1]):
            met.left_out.append(names.of(a, name, tensor))
        else:
            met.equal.append(_against_fill(names.of(a, name, tensor), tensor, a, name))
    for name, tensor in right.items():
        if _absent(b, name, frameworks[0]):
            met.left_out.append(names.of(b, name, tensor))
        else:
            met.equal.append(_against_fill(names.of(b, name, tensor), tensor, b, name).turned())
    return met


def _gated(part: Part) -> str:
    return part.layer.base if isinstance(part.layer, RecurrentLayer) else ""


def _is_product(tensor: Tensor) -> bool:
    return isinstance(tensor, Product) or any(map(_is_product, tensor.inputs))


def _absent(part: Part, name: str, framework: str) -> bool:
    """Tell whether a framework has no such parameter in this kind of layer."""
    form = dialects.dialect(framework).forms.get(part.layer.kind)
    return form is not None and form.slots.get(name, Slot()) is None


def _summed(
    part: Part, left: dict[str, Tensor], right: dict[str, Tensor], suffix: str, names: Names
) -> list[Item]:
    """Take the biases out that one side holds as a sum: there is no other way to compare them."""
    one, other = ([s.pop(f"bias_{n}{suffix}", None) for n in ("ih", "hh")] for s in (left, right))
    if single(one[1]) == single(other[1]) or one[0] is None or other[0] is None:
        for side, biases in ((left, one), (right, other)):
            named = zip(("ih", "hh"), biases, strict=True)
            side |= {f"bias_{n}{suffix}": b for n, b in named if b is not None}
        return []
    first, second = _alike(one[0], other[0], names)
    a = _sum(first, one[1], holding(first.dtype, second.dtype))
    b = _sum(second, other[1], second.dtype)
    gates = GATES[_gated(part)]
    name = [" + ".join(dict.fromkeys(names.names(t))) for t in (a, b)]
    return [Item(name[0], name[1], a, b, gates, how="sum of the biases")]


def _alike(one: Tensor, other: Tensor, names: Names) -> tuple[Tensor, Tensor]:
    """Return two tensors, what rounds on the way to either as in the dtype of the other."""
    return recomputed(one, other.dtype, names), recomputed(other, one.dtype, names)


def _sum(bias: Tensor, recurrent: Tensor | None, dtype: DType) -> Tensor:
    """Return what one bias is, or what a conversion to ``dtype`` makes of two."""
    if recurrent is None or single(recurrent):
        return bias
    return add(cast(bias, dtype), cast(recurrent, dtype))


def single(recurrent_bias: Tensor | None) -> bool:
    """Tell whether a file holds no recurrent bias of its own beside the other one."""
    return recurrent_bias is None or isinstance(recurrent_bias, FilledTensor)


def _against_fill(full_name: str, tensor: Tensor, part: Part, name: str) -> Item:
    """Hold a parameter that the other side lacks against what is computed without it."""
    kind = KINDS.get(part.layer.kind)
    fills = {param.name: param.fill for param in kind.params} if kind else {}
    fill = FilledTensor(tensor.shape, tensor.dtype, fills.get(name, 0.0))
    return Item(full_name, ABSENT, tensor, fill, how="against what its absence means")


class Names(Provenance):
    """What the tensors of two graphs are called in their files."""

    def __init__(self, *graphs: Graph) -> None:
        super().__init__(*(graph.origin.tensors for graph in graphs))

    def stored(self, tensor: Tensor) -> tuple[str, tuple[int, ...]] | None:
        """Return the name and shape that values have in a file, if they are of one tensor there."""
        found = [origin for origin in self.trace(tensor).origins if self.own(origin)]
        return (self.own(found[0])[0], found[0].shape) if len(found) == 1 else None

    def of(self, part: Part, param: str, tensor: Tensor) -> str:
        """Return a parameter's name in its file, or its canonical one if it was made up."""
        return " + ".join(self.names(tensor)) or part.layer.full_name(param)
