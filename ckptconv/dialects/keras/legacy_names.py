"""The legacy layout's names: ``<layer>/<scopes>/<leaf>``, by any Keras.

Scopes depend on the version (``lstm_a/lstm_cell_3/kernel:0``, ``m/lstm_a/lstm_cell/kernel``), and
Keras 1 joins them by underscores (``lstm_a_W_i``). A nested model is one layer whose weights have
the scopes of its own layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set

from ckptconv.checkpoint import KerasFacts
from ckptconv.dialects.keras.config_scopes import match
from ckptconv.dialects.keras.config_tree import COUNTER, Part, Scope, parts
from ckptconv.dialects.keras.grouping import PROJECTIONS, Unit, dotted
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.errors import DialectError
from ckptconv.tensors.tensor import Tensor

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


def legacy_units(
    tensors: Mapping[str, Tensor], facts: KerasFacts, root: Entry | None
) -> Iterator[Unit]:
    """Yield the units of a file in model order.

    Args:
        root: the model's configuration.

    Raises:
        DialectError: a name that the layout does not have, or weights that the configuration does
            not explain.
    """
    known: dict[str, list[Part]] = {}
    for part in parts(root) if root else []:
        known.setdefault(part.scopes[0][0], []).append(part)
    by_layer: dict[str, dict[str, Tensor]] = {}
    listed = facts.weights or _guess_layers(tensors)
    for layer, names in listed.items():
        for name in names:
            by_layer.setdefault(layer, {})[name] = tensors[f"{layer}/{name}"]
    for layer, weights in by_layer.items():
        scopes = _scopes(layer, weights)
        if layer in known:
            yield from _told(scopes, known[layer])
        else:
            yield from _untold(layer, scopes)


def _guess_layers(names: Iterable[str]) -> dict[str, list[str]]:
    listed: dict[str, list[str]] = {}
    for name in names:
        layer, _, rest = name.partition("/")
        if not rest:
            raise DialectError("not a name of Keras", tensor=name, expected="<layer>/<weight>")
        listed.setdefault(layer, []).append(rest)
    return listed


def _scopes(layer: str, weights: dict[str, Tensor]) -> dict[Scope, Unit]:
    scopes: dict[Scope, Unit] = {}
    owners = {scope[0] for scope, _, keras1 in map(_split, weights) if keras1}
    for name, tensor in weights.items():
        scope, leaf, keras1 = _split(name, owners)
        unit = scopes.setdefault(scope, Unit("", f"{layer}/{name}", keras1=keras1))
        if leaf in unit.leaves:
            raise DialectError("two weights have this name", tensor=f"{layer}/{name}")
        unit.leaves[leaf] = tensor
    for scope in [scope for scope in scopes if (*scope, "cell_1") in scopes]:
        scopes = {(*s, "cell_0") if s == scope else s: unit for s, unit in scopes.items()}
    for scope, unit in scopes.items():
        unit.word = COUNTER.sub("", (scope or (layer,))[-1])
        unit.in_cell = len(scope) > 1 and bool(_CELL_SCOPE.fullmatch(scope[-1]))
    return scopes


def _told(scopes: dict[Scope, Unit], known: list[Part]) -> Iterator[Unit]:
    """Yield the units of a layer that the configuration has."""
    found = match(list(scopes), known)
    for scope, unit in scopes.items():
        if scope not in found:
            raise DialectError(
                "the file's configuration does not tell which layer these weights belong to",
                tensor=unit.first,
                expected=" or ".join(dict.fromkeys(".".join(part.path) for part in known)),
            )
        part, below = found[scope]
        attention = part.entry.class_name == "MultiHeadAttention"
        if attention and scope and scope[-1] in PROJECTIONS:
            unit.leaves = {f"{scope[-1]}/{k}": v for k, v in unit.leaves.items()}
        held = below[:-1] if unit.in_cell else below
        unit.settle(part, held)
        yield unit


def _untold(layer: str, scopes: dict[Scope, Unit]) -> Iterator[Unit]:
    """Yield the units of a layer of which only the names of its weights are known."""
    halves = {scope: half for scope in scopes if (half := _half(scope))}
    sides = set(halves.values())
    paired = {owner for owner, side in sides if (owner, 1 - side) in sides}
    beside: dict[Scope, set[str]] = {}
    for scope in scopes:
        beside.setdefault(scope[:-1], set()).update(scope[-1:])
    owners: dict[Scope, Scope] = {}
    for scope, unit in scopes.items():
        owner, side = halves.get(scope, (None, None))
        unit.half = side if owner in paired else None
        attention = beside[scope[:-1]] >= PROJECTIONS and scope[-1] in PROJECTIONS
        if attention:
            unit.leaves = {f"{scope[-1]}/{k}": v for k, v in unit.leaves.items()}
        within = scope[:-1] if unit.in_cell or attention else scope
        owners[scope] = owner if owner is not None and owner in paired else within
    shared = len(_common(set(owners.values()))) if len(set(owners.values())) > 1 else None
    for scope, unit in scopes.items():
        inner = owners[scope][shared:] if shared is not None else ()
        unit.path = dotted((layer, *inner))
        yield unit


def _split(name: str, owners: Set[str] = frozenset()) -> tuple[Scope, str, bool]:
    """Return (scopes, leaf, whether it is a name of Keras 1).

    Args:
        owners: objects of Keras 1 in the same layer, whose other weights may be called anything:
            ``highway_1_W_carry`` beside ``highway_1_W``.
    """
    *scope, leaf = re.sub(r":\d+$", "", name).split("/")
    match = _KERAS_1.fullmatch(leaf) if not scope else None
    if match:
        leaf = match[2] or match[3]
        return (match[1],), _KERAS_1_LEAVES.get(leaf, leaf), True
    ends = [i for i, sign in enumerate(leaf) if sign == "_"] if owners and not scope else []
    for end in reversed(ends):
        if leaf[:end] in owners:
            return (leaf[:end],), leaf[end + 1 :], True
    repeated = _REPEATED.fullmatch(leaf)
    if repeated:  # StackedRNNCells before TensorFlow 2 numbers its cells' weights
        return (*scope, f"cell_{repeated[2]}"), repeated[1], False
    return tuple(scope), leaf, False


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
