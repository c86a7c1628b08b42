"""Who calls whom: a model's configuration as calls of layers, in an order in which they can run.

Three spellings of a functional model's ``inbound_nodes`` (``get_config`` of each Keras):

- Keras 1 and 2: ``[[["lstm", node, output], …], …]``, a list of references for each call;
- tf.keras: ``["lstm", node, output, {"initial_state": ["h", 0, 0]}]``, with keyword arguments;
- Keras 3: ``{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": ["lstm",
  node, output]}}], "kwargs": {…}}``.

A node counts the calls of one layer. A nested functional model's calls count from 1, since its own
definition is its call 0; in Keras 3 they do so in ``input_layers`` and ``output_layers`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ckptconv.dialects.keras.model_config import Entry, entry
from ckptconv.dialects.keras.network.execution import executed, ordered, takes_masks_away
from ckptconv.errors import DialectError

_MODELS = ("Sequential", "Functional", "Model")
_OPERATIONS = ("keras.src.ops", "keras.ops", "keras.src.backend", "keras.src.activations")
_FIRST = ("inputs", "sequences", "x", "data")  # what layers call the first of what they take
_SILENT = ("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "Discretization")
"""Layers whose settings leave out ``trainable``, as those of operations do."""
_KERAS_TENSOR = "__keras_tensor__"


class Ref(NamedTuple):
    """One output of one call of a layer."""

    layer: str
    call: int
    output: int


@dataclass(frozen=True)
class Call:
    """One call of a layer: references stand in ``args`` and ``kwargs``, nested as in the source."""

    layer: Entry
    number: int
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Topology:
    """A model's calls in order, and the references that it takes and gives."""

    calls: tuple[Call, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]


def is_model(layer: Entry) -> bool:
    """Tell whether a configuration is of a model with a record of its calls."""
    return layer.class_name in _MODELS and isinstance(layer.config.get("layers"), list)


def topology(model: Entry) -> Topology:
    """Return the calls of a Sequential or functional model.

    Raises:
        DialectError: a configuration that records no calls, or calls that contradict each other.
    """
    if not is_model(model):
        raise DialectError(
            f"a {model.class_name} does not record how its layers are joined",
            tensor=model.name or None,
            expected="a Sequential or functional model",
        )
    listed = [item for item in model.config["layers"] if isinstance(item, dict)]
    layers = [layer for item in listed if (layer := _layer(item)) is not None]
    if len(layers) != len(model.config["layers"]):
        raise _damaged(model, "a layer without class and config")
    if model.class_name == "Sequential" or "input_layers" not in model.config:
        return _chain(layers)
    try:
        return _graph(model, layers, listed)
    except (AttributeError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise _damaged(model, str(error)) from None


def _layer(item: dict[str, Any]) -> Entry | None:
    """Return a layer; operations between layers, which may be called alike, are marked.

    A ``.h5`` file names no modules: there an operation is what has no ``trainable``, unlike almost
    every layer.
    """
    found = entry(item)
    if found is None:
        return None
    unnamed = not item.get("module") and isinstance(item.get("inbound_nodes"), list)
    calls = item["inbound_nodes"] if unnamed else []
    silent = "trainable" not in found.config and found.class_name not in _SILENT
    bare = bool(calls) and isinstance(calls[0], dict) and silent
    if str(item.get("module")).startswith(_OPERATIONS) or bare:
        return Entry(f"ops.{found.class_name}", found.config)
    return found


def _chain(layers: list[Entry]) -> Topology:
    refs = [Ref(layer.name, 0, 0) for layer in layers]
    first = refs[0] if layers and layers[0].class_name == "InputLayer" else Ref("", 0, 0)
    start = 1 if first.layer else 0
    sources = [first, *refs[start:]]
    calls = [Call(layer, 0, (sources[i],)) for i, layer in enumerate(layers[start:])]
    if first.layer:
        calls.insert(0, Call(layers[0], 0, ()))
    return Topology(tuple(calls), (first,), (sources[-1],))


def _graph(model: Entry, layers: list[Entry], listed: list[dict[str, Any]]) -> Topology:
    calls = [
        _call(layer, number, node)
        for layer, item in zip(layers, listed, strict=True)
        for number, node in enumerate(item.get("inbound_nodes") or [None])
    ]
    inputs, outputs = (_ends(model.config[key]) for key in ("input_layers", "output_layers"))
    nested = [layer for layer in layers if layer.layers()]
    keras3 = any(
        isinstance(node, dict) for item in listed for node in item.get("inbound_nodes") or ()
    )
    if keras3:
        shift = {layer.name: 1 for layer in nested if layer.class_name != "Sequential"}
    else:
        shift = _first_calls(nested, [*inputs, *outputs, *(r for c in calls for r in refs_of(c))])
        calls = [_map(call, lambda ref: _shifted(ref, shift)) for call in calls]
    inputs, outputs = ([_shifted(ref, shift) for ref in refs] for refs in (inputs, outputs))
    nodes = {(call.layer.name, call.number): call for call in calls}
    if len(nodes) < len(calls):
        raise _damaged(model, "two layers of one name")
    parents = {node: [ref[:2] for ref in refs_of(call)] for node, call in nodes.items()}
    order = ordered(parents)
    if keras3 and takes_masks_away(layers):
        order = executed({node: parents[node] for node in order}, [ref[:2] for ref in outputs])
    return Topology(tuple(nodes[node] for node in order), tuple(inputs), tuple(outputs))


def _first_calls(nested: Iterable[Entry], used: Sequence[Ref]) -> dict[str, int]:
    """Return the number of the first call of each nested model."""
    first: dict[str, int] = {}
    for ref in used:
        first[ref.layer] = min(ref.call, first.get(ref.layer, ref.call))
    return {layer.name: first[layer.name] for layer in nested if layer.name in first}


def _shifted(ref: Ref, shift: Mapping[str, int]) -> Ref:
    return ref._replace(call=ref.call - shift.get(ref.layer, 0))


def _call(layer: Entry, number: int, node: Any) -> Call:
    if node is None:
        return Call(layer, number, ())
    if isinstance(node, dict):  # Keras 3
        kwargs = {key: _keras3(value) for key, value in node["kwargs"].items()}
        args = tuple(_keras3(arg) for arg in node["args"])
        named = next((key for key in _FIRST if key in kwargs and not args), None)
        return Call(layer, number, (kwargs.pop(named),) if named else args, kwargs)
    if node and isinstance(node[0], str):
        node = [node]
    refs = [_ref(item) for item in node]
    kwargs = {}
    for item in node:
        given = item[3] if len(item) > 3 and isinstance(item[3], dict) else {}
        kwargs |= {key: _tf_keras(value) for key, value in given.items()}
    return Call(layer, number, (refs[0] if len(refs) == 1 else refs,), kwargs)


def _ref(item: Any) -> Ref:
    name, call, output = item[:3]
    if not (isinstance(name, str) and isinstance(call, int) and isinstance(output, int)):
        raise ValueError(f"not a reference to a layer: {item!r}"[:200])
    return Ref(name, call, output)


def _tf_keras(value: Any) -> Any:
    """Return a keyword argument, references in it as ``Ref``."""
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int):
            return value[2] if value[0] == "_CONSTANT_VALUE" else _ref(value)
        return [_tf_keras(item) for item in value]
    return value


def _keras3(value: Any) -> Any:
    if isinstance(value, list):
        return [_keras3(item) for item in value]
    if isinstance(value, dict) and value.get("class_name") == _KERAS_TENSOR:
        return _ref(value["config"]["keras_history"])
    return value


def _ends(value: Any) -> list[Ref]:
    """Return ``input_layers`` or ``output_layers``: one reference, rows or a dictionary of them.

    Keras counts what a dictionary holds in the order of its keys.
    """
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if value and isinstance(value[0], str):
        return [_ref(value)]
    return [ref for item in value for ref in _ends(item)]


def refs_of(call: Call) -> Iterable[Ref]:
    """Yield every reference of a call, those in nested lists too."""
    return _refs((call.args, [call.kwargs[key] for key in sorted(call.kwargs)]))


def _refs(value: Any) -> Iterable[Ref]:
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _refs(item)


def _map(call: Call, change: Callable[[Ref], Ref]) -> Call:
    def go(value: Any) -> Any:
        if isinstance(value, Ref):
            return change(value)
        return [go(item) for item in value] if isinstance(value, list) else value

    kwargs = {key: go(value) for key, value in call.kwargs.items()}
    return Call(call.layer, call.number, tuple(go(arg) for arg in call.args), kwargs)


def _damaged(model: Entry, reason: str) -> DialectError:
    problem = f"a configuration that cannot be followed: {reason}"
    return DialectError(problem, tensor=model.name or None)
