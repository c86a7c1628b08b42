"""The names of ``.weights.h5``: the attributes' path, ``vars`` and a number.

``layers/bidirectional/forward_layer/cell/vars/0``: below ``layers`` a group is named after the
class, with a counter, elsewhere after the attribute that holds the layer. What the layers are
called and how they follow each other only the model's configuration tells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from ckptconv.checkpoint import KerasFacts
from ckptconv.dialects.keras.config_tree import COUNTER, Part, Scope, parts
from ckptconv.dialects.keras.grouping import ATTENTION, HALVES, PROJECTIONS, Unit, dotted
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.errors import DialectError
from ckptconv.tensors.tensor import Tensor

_HALVES = {name: half for half, name in enumerate(HALVES)}


def group_units(
    tensors: Mapping[str, Tensor], facts: KerasFacts, root: Entry | None
) -> Iterator[Unit]:
    """Yield the units of a file, in model order where ``root``, the configuration, tells it.

    Raises:
        DialectError: a name that the layout does not have, or weights that do not fit ``root``.
    """
    groups = _groups(tensors)
    beginnings = {scope[:n] for scope in groups for n in range(1, len(scope) + 1)}
    known = {part.group: part for part in (parts(root, groups) if root else [])}
    order = {scope: i for i, scope in enumerate(known)}
    for scope in sorted(groups, key=lambda s: order.get(_beginning(s, known), len(order))):
        unit, part = groups[scope], known.get(_beginning(scope, known))
        unit.word, unit.stacked = COUNTER.sub("", scope[-1]), "cells" in scope
        unit.in_cell = "cell" in scope[1:] or unit.stacked
        unit.named_by_class = scope[-2:-1] in (("layers",), ("cells",))
        unit.half = None if part else _half(scope, beginnings)
        listed = part.entry.class_name == "MultiHeadAttention" if part else _four(scope, groups)
        attention = listed and scope[-1] in ATTENTION
        kept = [i for i in _telling(scope, unit) if not (attention and i == len(scope) - 1)]
        if part:
            unit.settle(part, tuple(scope[i] for i in kept if i >= len(part.group)))
        else:
            unit.path = _path(scope, kept, facts.names)
        if attention:
            unit.leaves = {f"{ATTENTION[scope[-1]]}/{k}": v for k, v in unit.leaves.items()}
        yield unit


def _groups(tensors: Mapping[str, Tensor]) -> dict[Scope, Unit]:
    groups: dict[Scope, Unit] = {}
    for name, tensor in tensors.items():
        *parts, mark, leaf = ["", "", *name.split("/")]
        scope = tuple(p for p in parts[2:] if p != "_layer_checkpoint_dependencies")
        if mark == "vars" and not scope:
            raise DialectError(
                "a weight of the model itself, which no layer holds",
                tensor=name,
                expected="weights of layers",
                hint="a layer of the model that holds it",
            )
        if mark != "vars":
            raise DialectError("not a name of Keras", tensor=name, expected="<group>/vars/<number>")
        groups.setdefault(scope, Unit("", name)).leaves[leaf] = tensor
    return groups


def _beginning(scope: Scope, known: Mapping[Scope, Part]) -> Scope:
    """Return the longest beginning of a group's path that the configuration explains."""
    return next((s for n in range(len(scope), 0, -1) if (s := scope[:n]) in known), ())


def _half(scope: Scope, beginnings: Set[Scope]) -> int | None:
    """Tell a half of what looks like a Bidirectional where no configuration does."""
    for i, part in enumerate(scope):
        if part in _HALVES:
            above, other = scope[:i], next(n for n in _HALVES if n != part)
            paired = (*above, other) in beginnings
            if above[-2:-1] == ("layers",):  # a group that is named after its class
                return _HALVES[part] if COUNTER.sub("", above[-1]) == "bidirectional" else None
            return _HALVES[part] if paired and above else None
    return None


def _four(scope: Scope, groups: Mapping[Scope, Unit]) -> bool:
    """Tell whether all projections of an attention stand beside a group."""
    beside = {role for name, role in ATTENTION.items() if (*scope[:-1], name) in groups}
    return beside >= PROJECTIONS


def _telling(scope: Scope, unit: Unit) -> Iterator[int]:
    """Yield the places of the names that tell layers apart: no containers, no layer's own cell."""
    joined = unit.half is not None and not unit.stacked
    for i, part in enumerate(scope):
        last = i == len(scope) - 1
        contains = part in ("layers", "cells") and not last
        cell = i > 0 and part == "cell" and (last or scope[i + 1] == "cells")
        wrapped = part == "layer" and scope[i - 1].startswith("time_distributed")
        if not (contains or cell or wrapped or (joined and part in _HALVES)):
            yield i


def _path(scope: Scope, kept: list[int], names: Mapping[str, str]) -> str:
    """Return a group as a module path, with Keras's names of the layers where they are recorded."""
    found = []
    for i in kept:
        listed = i > 0 and scope[i - 1] == "layers"
        found.append((names.get("/".join(scope[: i + 1])) if listed else None) or scope[i])
    return dotted(tuple(found)) or ".".join(scope)
