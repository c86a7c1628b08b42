"""The weights of a Keras file, grouped by the layer, cell or half of a layer that owns them.

Two namings lead here. In the legacy layout a weight is ``<layer>/<scopes>/<leaf>``, where scopes
depend on the version (``lstm_a/lstm_cell_3/kernel:0``, ``m/lstm_a/lstm_cell/kernel``) and Keras 1
joins them by underscores (``lstm_a_W_i``); in ``.weights.h5`` it is the attributes' path and a
number (``layers/bidirectional/forward_layer/cell/vars/0``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.keras_config import Entry, entry
from ckptconv.errors import DialectError
from ckptconv.tensor import Tensor

_KERAS_1 = re.compile(
    r"(.+)_(?:([WUb](?:_[ifcozrh])?)|(gamma|beta|running_mean|running_std|alphas))"
)
_KERAS_1_LEAVES = {
    "W": "kernel",
    "U": "recurrent_kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",  # it is the variance
    "alphas": "alpha",
}
_REPEATED = re.compile(r"(kernel|recurrent_kernel|bias)_(\d{1,4})")
_CELL_SCOPE = re.compile(r"(lstm|gru|simple_rnn)_cell(_\d+)?")
_COUNTER = re.compile(r"_\d+$")
_HALVES = {"forward_layer": 0, "backward_layer": 1}
_ATTENTION = {
    "query_dense": "query",
    "key_dense": "key",
    "value_dense": "value",
    "output_dense": "attention_output",
}


@dataclass
class Unit:
    """The weights of one layer, cell, or half of a Bidirectional.

    Attributes:
        path: dotted; of the Bidirectional for its halves.
        leaves: Keras's name of the weight (or its number, in ``.weights.h5``) → values.
        first: the name of the first weight in the file, for errors.
        word: what the file calls its class, in snake case without counter, or ``""``.
        half: 0 forward, 1 backward, None where it is not half of a Bidirectional.
        in_cell: the group says that a recurrent layer holds it as its cell.
        entry: the class and settings of the layer, where the file has them.
        wrapper: the same of the Bidirectional or RNN around it.
    """

    path: str
    first: str
    leaves: dict[str, Tensor] = field(default_factory=dict)
    word: str = ""
    half: int | None = None
    in_cell: bool = False
    keras1: bool = False
    entry: Entry | None = None
    wrapper: Entry | None = None


def units(checkpoint: Checkpoint) -> list[Unit]:
    """Return the units of a file in model order, as far as the file tells it.

    Raises:
        DialectError: a name that neither layout has.
    """
    root = entry(checkpoint.metadata.get("model_config"))
    numbered = all("/vars/" in f"/{name}" for name in checkpoint.tensors)
    if checkpoint.metadata.get("layout", "weights.h5" if numbered else "legacy") == "legacy":
        return list(_legacy(checkpoint, root))
    return list(_weights(checkpoint, root))


# --- the legacy layout


def _legacy(checkpoint: Checkpoint, root: Entry | None) -> Iterator[Unit]:
    known = {layer.name: layer for layer in root.layers()} if root else {}
    by_layer: dict[str, dict[str, Tensor]] = {}
    listed = checkpoint.metadata.get("weight_names") or _guess_layers(checkpoint)
    for layer, names in listed.items():
        for name in names:
            by_layer.setdefault(layer, {})[name] = checkpoint.tensors[f"{layer}/{name}"]
    for layer, weights in by_layer.items():
        yield from _of_layer(layer, weights, known.get(layer))


def _guess_layers(checkpoint: Checkpoint) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    for name in checkpoint.tensors:
        layer, _, rest = name.partition("/")
        if not rest:
            raise DialectError("not a name of Keras", tensor=name, expected="<layer>/<weight>")
        listed.setdefault(layer, []).append(rest)
    return listed


Scope = tuple[str, ...]


def _of_layer(layer: str, weights: dict[str, Tensor], known: Entry | None) -> Iterator[Unit]:
    scopes: dict[Scope, Unit] = {}
    for name, tensor in weights.items():
        scope, leaf, keras1 = _split(name)
        unit = scopes.setdefault(scope, Unit("", f"{layer}/{name}", keras1=keras1))
        if leaf in unit.leaves:
            raise DialectError("two weights have this name", tensor=f"{layer}/{name}")
        unit.leaves[leaf] = tensor
    for scope in [scope for scope in scopes if (*scope, "cell_1") in scopes]:
        scopes = {(*s, "cell_0") if s == scope else s: unit for s, unit in scopes.items()}
    halves = {scope: half for scope in scopes if (half := _half(scope))}
    paired = {owner for owner, side in halves.values() if (owner, 1 - side) in halves.values()}
    owners: dict[Scope, Scope] = {}
    for scope, unit in scopes.items():
        owner, side = halves.get(scope, (None, None))
        unit.half = side if owner in paired else None
        owners[scope] = owner if owner is not None and owner in paired else _owner(scope)
    shared = len(_common(set(owners.values()))) if len(set(owners.values())) > 1 else None
    for scope, unit in scopes.items():
        inner = owners[scope][shared:] if shared is not None else ()
        unit.path = ".".join((layer.replace("/", "."), *inner))
        unit.in_cell = len(scope) > 1 and bool(_CELL_SCOPE.fullmatch(scope[-1]))
        unit.word = _COUNTER.sub("", (scope or (layer,))[-1])
        if scope and scope[-1] in _ATTENTION.values():
            unit.leaves = {f"{scope[-1]}/{k}": v for k, v in unit.leaves.items()}
        _describe(unit, scope, known)
        yield unit


def _split(name: str) -> tuple[Scope, str, bool]:
    """Return (scopes, leaf, whether it is a name of Keras 1)."""
    *scope, leaf = re.sub(r":\d+$", "", name).split("/")
    match = _KERAS_1.fullmatch(leaf) if not scope else None
    if match:
        leaf = match[2] or match[3]
        return (match[1],), _KERAS_1_LEAVES.get(leaf, leaf), True
    repeated = _REPEATED.fullmatch(leaf)
    if repeated:  # StackedRNNCells before TensorFlow 2 numbers its cells' weights
        return (*scope, f"cell_{repeated[2]}"), repeated[1], False
    return tuple(scope), leaf, False


def _owner(scope: Scope) -> Scope:
    """Return the scopes without those below the layer: its cell, its projections."""
    for i, part in enumerate(scope):
        if part in _ATTENTION.values() or (i and _CELL_SCOPE.fullmatch(part)):
            return scope[:i]
    return scope


def _half(scope: Scope) -> tuple[Scope, int] | None:
    """Return (the scopes above, which half) where Bidirectional's naming is met."""
    for i, part in enumerate(scope):
        if part.startswith(("forward_", "backward_")):
            return scope[:i], int(part.startswith("backward_"))
    return None


def _common(scopes: set[Scope]) -> Scope:
    first, last = min(scopes), max(scopes)
    size = 0
    while size < min(len(first), len(last)) and first[size] == last[size]:
        size += 1
    return first[:size]


def _describe(unit: Unit, scope: Scope, known: Entry | None) -> None:
    """Find the settings of a unit in the configuration of its layer."""
    while known is not None and known.layers():
        inner = {layer.name: layer for layer in known.layers()}
        known = next((inner[part] for part in scope if part in inner), None) or next(
            (inner[p] for p in (_COUNTER.sub("", part) for part in scope) if p in inner), None
        )
    if known is None:
        return
    if unit.half is not None:
        unit.wrapper = known
        known = (unit.half and known.inner("backward_layer")) or known.inner("layer")
    elif known.class_name == "TimeDistributed":
        known = known.inner("layer")
    if known is not None and known.class_name == "RNN":
        unit.wrapper, unit.in_cell = unit.wrapper or known, True
        known = known.inner("cell")
        if known is not None and known.class_name == "StackedRNNCells":
            known = _stacked(known.cells(), scope)
    unit.entry = known


def _stacked(cells: list[Entry], scope: Scope) -> Entry | None:
    named = next((cell for cell in cells if cell.name and cell.name in scope), None)
    match = re.fullmatch(r"cell_(\d+)", scope[-1]) if scope else None
    index = int(match[1]) if match else 0
    return named or (cells[index] if index < len(cells) else None)


# --- the layout of .weights.h5


def _weights(checkpoint: Checkpoint, root: Entry | None) -> Iterator[Unit]:
    groups: dict[Scope, Unit] = {}
    for name, tensor in checkpoint.tensors.items():
        *parts, mark, leaf = ["", "", *name.split("/")]
        scope = tuple(p for p in parts[2:] if p != "_layer_checkpoint_dependencies")
        if mark != "vars" or not scope:
            raise DialectError("not a name of Keras", tensor=name, expected="<group>/vars/<number>")
        groups.setdefault(scope, Unit("", name)).leaves[leaf] = tensor
    entries = _locate(root, list(groups), ()) if root else {}
    names = checkpoint.metadata.get("names") or {}
    order = {scope: i for i, scope in enumerate(entries)}
    for scope in sorted(groups, key=lambda s: order.get(_known(s, entries), len(order))):
        unit = groups[scope]
        unit.path = _dotted(scope, names, entries)
        unit.half = next((_HALVES[p] for p in scope if p in _HALVES), None)
        unit.in_cell = "cell" in scope or "cells" in scope
        unit.word = _COUNTER.sub("", scope[-1])
        if scope[-1] in _ATTENTION:
            unit.leaves = {f"{_ATTENTION[scope[-1]]}/{k}": v for k, v in unit.leaves.items()}
        known = _known(scope, entries)
        _describe(unit, scope[len(known) :], entries.get(known))
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
        queues.setdefault(_COUNTER.sub("", head), []).append(head)
    counts: dict[str, int] = {}
    found: dict[Scope, Entry] = {}
    classes = [layer.snake for layer in model.layers()]
    for layer in model.layers():
        number = counts[layer.snake] = counts.get(layer.snake, -1) + 1
        queue = queues.get(layer.snake, [])
        if len(queue) > classes.count(layer.snake):
            raise DialectError(
                "the weights do not fit the file's configuration",
                tensor="/".join((*base, queue[-1])),
                expected=f"{classes.count(layer.snake)} layers of the class {layer.class_name}",
                found=len(queue),
            )
        if len(queue) == classes.count(layer.snake):
            group = queue[number]
        else:  # some layers of the class hold no weights
            group = f"{layer.snake}_{number}" if number else layer.snake
        if group in queue:
            found[(*base, group)] = layer
            if layer.layers():
                found |= _locate(layer, scopes, (*base, group))
    return found


def _dotted(scope: Scope, names: dict[str, str], entries: dict[Scope, Entry]) -> str:
    """Return a group as a module path, with Keras's names of the layers where they are known."""
    parts = []
    for i, part in enumerate(scope):
        here = scope[: i + 1]
        wrapped = part == "layer" and scope[i - 1].startswith("time_distributed")
        if part in _HALVES or part in _ATTENTION or wrapped or part in ("cell", "cells", "layers"):
            continue
        listed = i > 0 and scope[i - 1] == "layers"
        known = names.get("/".join(here)) if listed else None
        parts.append((entries[here].name if here in entries else known) or part)
    return ".".join(parts).replace("/", ".") or ".".join(scope)
