"""What a configuration says of how layers are joined: who feeds whom, and with how many axes.

Read from ``network.topology``; a layer of which nothing is known here makes what follows unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptconv.dialects.keras.config_tree import Scope
from ckptconv.dialects.keras.model_config import INERT, Entry
from ckptconv.dialects.keras.network.topology import Call, Ref, Topology, refs_of, topology
from ckptconv.dialects.keras.recurrent import CLASSES
from ckptconv.errors import DialectError

_ANY = (
    *("EinsumDense", "Dot", "Lambda", "CategoryEncoding", "Discretization", "TextVectorization"),
    *("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod"),
    *("InstanceProperty",),
)
"""Layers, and operations of tf.keras, whose output has axes of its own."""
_BESIDE = (
    *("initial_state", "mask", "use_causal_mask", "attention_mask"),
    *("query_mask", "value_mask", "key_mask"),
)
_NOTHING: tuple[object, ...] = (None, False, [])


@dataclass
class Joints:
    """How the layers of a model are joined.

    Attributes:
        ranks: path → the number of axes of a layer's input, with the batch, where it is known.
        feeds: path → the path of the one layer that takes its whole output, and nothing beside.
        given: path → what a layer is called with beside its input.
        masking: the names of layers that mask what follows.
        training: the names of layers that are called in training mode.
    """

    ranks: dict[Scope, int] = field(default_factory=dict)
    feeds: dict[Scope, Scope] = field(default_factory=dict)
    given: dict[Scope, list[str]] = field(default_factory=dict)
    masking: list[str] = field(default_factory=list)
    training: list[str] = field(default_factory=list)


def joints(root: Entry | None) -> Joints:
    """Return what a model's configuration says; nothing where it records no calls."""
    found = Joints()
    if root is not None:
        _walk(root, (), None, found)
    return found


def _walk(model: Entry, path: Scope, given: int | None, found: Joints) -> int | None:
    """Read one model; ``given`` is the rank of its input. Return that of its output."""
    try:
        calls = topology(model)
    except DialectError:
        return None
    _chains(calls, path, found)
    ranks: dict[Ref, int | None] = dict.fromkeys(calls.inputs, given)
    for call in calls.calls:
        inputs = [ranks.get(ref) for ref in refs_of(call)]
        rank = inputs[0] if inputs else given
        own = (*path, call.layer.name)
        found.given[own] = _given(call)
        found.masking += [call.layer.name] if call.layer.class_name == "Masking" else []
        found.training += [".".join(own)] if call.kwargs.get("training") is True else []
        rank = _declared(call.layer) or rank
        if rank is not None:
            found.ranks.setdefault(own, rank)
        made = _walk(call.layer, own, rank, found) if call.layer.is_model else None
        made = made if call.layer.is_model else _output(call.layer, own, rank, found)
        ranks[Ref(call.layer.name, call.number, 0)] = made
    return ranks.get(calls.outputs[0]) if calls.outputs else None


def _given(call: Call) -> list[str]:
    """Return what a call gives beside the layer's input; Keras 2 puts states behind it."""
    said = [name for name in _BESIDE if call.kwargs.get(name) not in _NOTHING]
    rows = [arg for arg in call.args if isinstance(arg, list) and len(arg) > 1]
    recurrent = call.layer.class_name in (*CLASSES, "RNN", "Bidirectional")
    states = bool(rows) and recurrent and "initial_state" not in said
    return [*said, "initial_state"] if states else said


def _declared(layer: Entry) -> int | None:
    for key in ("batch_shape", "batch_input_shape"):
        shape = layer.config.get(key)
        if isinstance(shape, list):
            return len(shape)
    return len(layer.input_shape) if layer.input_shape else None


def _output(layer: Entry, path: Scope, rank: int | None, found: Joints) -> int | None:
    """Return the rank of a layer's output, and note that of what it wraps."""
    name, config = layer.class_name, layer.config
    if name == "TimeDistributed" and (inner := layer.inner("layer")) is not None:
        below = None if rank is None else rank - 1
        found.ranks.update({path: below} if below else {})
        made = _output(inner, (*path, inner.name), below, found)
        return None if made is None else made + 1
    if name == "Bidirectional" and (inner := layer.inner("layer")) is not None:
        return _output(inner, path, rank, found)
    if name == "RNN" or name in CLASSES:
        return 3 if config.get("return_sequences") else 2
    if name.startswith("Global"):
        return rank if config.get("keepdims") else 2
    made = _RANKS[name](config, rank) if name in _RANKS else rank
    return made if layer.is_keras else None


def _reshaped(config: Mapping[str, Any], _: int | None) -> int | None:
    shape = config.get("target_shape")
    return len(shape) + 1 if isinstance(shape, list) else None


def _embedded(_: Mapping[str, Any], rank: int | None) -> int | None:
    return None if rank is None else rank + 1


def _convolved(config: Mapping[str, Any], rank: int | None) -> int | None:
    return rank if config.get("return_sequences") or rank is None else rank - 1


_Rank = Callable[[Mapping[str, Any], "int | None"], "int | None"]
_RANKS: Mapping[str, _Rank] = {
    # class → the rank of its output; of all others that of the input
    "Flatten": lambda *_: 2,
    "RepeatVector": lambda *_: 3,
    "Reshape": _reshaped,
    "Embedding": _embedded,
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _convolved),
    **dict.fromkeys(_ANY, lambda *_: None),
}


def _chains(calls: Topology, path: Scope, found: Joints) -> None:
    """Note each layer whose one output goes, alone and whole, into one other layer."""
    takers: dict[Ref, list[Call]] = {}
    times: dict[str, int] = {}
    for call in calls.calls:
        times[call.layer.name] = times.get(call.layer.name, 0) + 1
        for ref in refs_of(call):
            takers.setdefault(ref._replace(output=0), []).append(call)
    for call in calls.calls:
        taker = _taker(Ref(call.layer.name, call.number, 0), takers, calls.outputs)
        if taker is None or times[call.layer.name] > 1 or times[taker.layer.name] > 1:
            continue
        beside = [ref for ref in refs_of(taker) if ref not in taker.args]  # initial states
        if len(taker.args) == 1 and all(ref in calls.inputs for ref in beside):
            found.feeds[(*path, call.layer.name)] = (*path, taker.layer.name)


def _taker(made: Ref, takers: Mapping[Ref, list[Call]], outputs: tuple[Ref, ...]) -> Call | None:
    """Return the one call that takes an output, past layers that change nothing."""
    while True:
        after = takers.get(made, [])
        if len(after) != 1 or made in outputs:  # its states may be the model's outputs
            return None
        if after[0].layer.class_name not in INERT:
            return after[0]
        made = Ref(after[0].layer.name, after[0].number, 0)
