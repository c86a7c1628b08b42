"""aten operators that take values by their places, and values of which the places are told."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.dialects.torch.network.call import Operator, Rule
from ckptconv.graph.network import Value


def _gather(o: Operator) -> None:
    o.give("gather", o.tensor("self"), o.tensor("index"), axis=o.axis())


def _take(o: Operator) -> None:
    index = o.tensor("index")
    if not index.rank:  # one place, of which the axis stays
        index = o.between("expand", index, shape=(1,), axis=0)
    o.give("take", o.tensor("self"), index, axis=o.axis(), count=1)


def _index(o: Operator) -> None:
    """Take by whole numbers, along axes that stand side by side."""
    x, found = o.tensor("self"), places(o)
    known = [axis for axis, place in enumerate(found) if place is not None]
    if not known or known != [*range(known[0], known[-1] + 1)]:
        raise o.refuse("indices of axes that stand apart")
    given = [place for place in found if place is not None]
    if any("int" not in place.dtype for place in given):
        raise o.refuse("a mask: how many it takes is not known before")
    o.give("take", x, *given, axis=known[0], count=len(given))


def places(o: Operator) -> list[Value | None]:
    """Return what is taken along each axis; None is all of it."""
    arg = o.given["indices"]
    names = [one["name"] for one in arg.get("as_tensors", ())]
    if "as_optional_tensors" in arg:
        items = [item.get("as_tensor") for item in arg["as_optional_tensors"]]
        names = [item and item["name"] for item in items]
    return [o.program.value(name) if name else None for name in names]


def _one_hot(o: Operator) -> None:
    size = o.shape[-1]
    if size is None or o.get("num_classes", -1) < 1:
        raise o.refuse("a number of classes that is not told")
    o.give("one_hot", o.tensor("self"), size=size)


RULES: Mapping[str, Rule] = {
    **{"gather": _gather, "index_select": _take, "index": _index, "one_hot": _one_hot},
}
