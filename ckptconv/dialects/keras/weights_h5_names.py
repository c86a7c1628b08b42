"""The names of ``.weights.h5``: the attributes' path, ``vars`` and a number.

``layers/bidirectional/forward_layer/cell/vars/0``: below ``layers`` a group is named after the
class, with a counter, elsewhere after the attribute that holds the layer. What the layers are
called and how they follow each other only the model's configuration tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ckptconv.checkpoint import KerasFacts
from ckptconv.dialects.keras.grouping import ATTENTION, COUNTER, Scope, Unit, describe
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.errors import DialectError
from ckptconv.tensors.tensor import Tensor

_HALVES = {"forward_layer": 0, "backward_layer": 1}


def group_units(
    tensors: Mapping[str, Tensor], facts: KerasFacts, root: Entry | None
) -> Iterator[Unit]:
    """Yield the units of a file, in model order where ``root``, the configuration, tells it.

    Raises:
        DialectError: a name that the layout does not have, or weights that do not fit ``root``.
    """
    groups: dict[Scope, Unit] = {}
    for name, tensor in tensors.items():
        *parts, mark, leaf = ["", "", *name.split("/")]
        scope = tuple(p for p in parts[2:] if p != "_layer_checkpoint_dependencies")
        if mark != "vars" or not scope:
            raise DialectError("not a name of Keras", tensor=name, expected="<group>/vars/<number>")
        groups.setdefault(scope, Unit("", name)).leaves[leaf] = tensor
    entries = _locate(root, list(groups), ()) if root else {}
    order = {scope: i for i, scope in enumerate(entries)}
    for scope in sorted(groups, key=lambda s: order.get(_known(s, entries), len(order))):
        unit = groups[scope]
        unit.path = _dotted(scope, facts.names, entries)
        unit.half = next((_HALVES[p] for p in scope if p in _HALVES), None)
        unit.in_cell = "cell" in scope or "cells" in scope
        unit.word = COUNTER.sub("", scope[-1])
        if scope[-1] in ATTENTION:
            unit.leaves = {f"{ATTENTION[scope[-1]]}/{k}": v for k, v in unit.leaves.items()}
        known = _known(scope, entries)
        describe(unit, scope[len(known) :], entries.get(known))
        yield unit


def _known(scope: Scope, entries: dict[Scope, Entry]) -> Scope:
    """Return the longest beginning of a group's path that the configuration explains."""
    return next((s for n in range(len(scope), 0, -1) if (s := scope[:n]) in entries), ())


def _locate(model: Entry, scopes: list[Scope], base: Scope) -> dict[Scope, Entry]:
    """Return group → layer: the n-th group of a class is the n-th layer of that class.

    Raises:
        DialectError: the groups of a class are more than its layers.
    """
    below = [scope[len(base) :] for scope in scopes if scope[: len(base)] == base]
    base = (*base, "layers") if any(s[0] == "layers" for s in below if s) else base
    heads = dict.fromkeys(s[len(base)] for s in scopes if s[: len(base)] == base and s != base)
    queues: dict[str, list[str]] = {}
    for head in heads:
        queues.setdefault(COUNTER.sub("", head), []).append(head)
    counts: dict[str, int] = {}
    found: dict[Scope, Entry] = {}
    classes = Counter(layer.snake for layer in model.layers())
    for layer in model.layers():
        number = counts[layer.snake] = counts.get(layer.snake, -1) + 1
        queue = queues.get(layer.snake, [])
        if len(queue) > classes[layer.snake]:
            raise DialectError(
                "the weights do not fit the file's configuration",
                tensor="/".join((*base, queue[-1])),
                expected=f"{classes[layer.snake]} layers of the class {layer.class_name}",
                found=len(queue),
            )
        if len(queue) == classes[layer.snake]:
            group = queue[number]
        else:  # some layers of the class hold no weights
            group = f"{layer.snake}_{number}" if number else layer.snake
        if group in heads:
            found[(*base, group)] = layer
            if layer.layers():
                found |= _locate(layer, scopes, (*base, group))
    return found


def _dotted(scope: Scope, names: Mapping[str, str], entries: dict[Scope, Entry]) -> str:
    """Return a group as a module path, with Keras's names of the layers where they are known."""
    parts = []
    for i, part in enumerate(scope):
        here = scope[: i + 1]
        wrapped = part == "layer" and scope[i - 1].startswith("time_distributed")
        if part in _HALVES or part in ATTENTION or wrapped or part in ("cell", "cells", "layers"):
            continue
        listed = i > 0 and scope[i - 1] == "layers"
        known = names.get("/".join(here)) if listed else None
        parts.append((entries[here].name if here in entries else known) or part)
    return ".".join(parts).replace("/", ".") or ".".join(scope)
