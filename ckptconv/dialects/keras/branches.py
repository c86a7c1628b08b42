"""A Sequential of Keras 1 that begins with Merge, as the functional model that it is.

Source of the format: ``Sequential.get_config`` and ``Merge.get_config`` of Keras 1.2: the branches
are whole Sequentials in the settings of the first layer, and their weights stand in the file as the
model's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

_Layers = Sequence[dict[str, Any]]


def functional(layers: object) -> dict[str, Any] | None:
    """Return the configuration of a functional model that calls as these layers do.

    None for a list that does not begin with a Merge of Sequentials, each with layers of its own.
    """
    if not isinstance(layers, list) or not _begins_with_merge(layers):
        return None
    found: list[dict[str, Any]] = []
    inputs: list[str] = []
    try:
        last = _joined(layers, found, inputs)
        if len({layer["name"] for layer in found}) < len(found):  # a branch that is shared
            return None
    except (AttributeError, LookupError, TypeError, RecursionError):  # damaged, or other branches
        return None
    ends = {"input_layers": [[name, 0, 0] for name in inputs], "output_layers": [[last, 0, 0]]}
    return {"layers": found, **ends}


def _begins_with_merge(layers: Sequence[Any]) -> bool:
    first = layers[0] if layers else None
    if not isinstance(first, dict) or first.get("class_name") != "Merge":
        return False
    return isinstance(first.get("config"), dict) and bool(first["config"].get("layers"))


def _joined(layers: _Layers, found: list[dict[str, Any]], inputs: list[str]) -> str:
    """Append the layers of a Sequential with what each is called with; return the last's name."""
    if _begins_with_merge(layers):
        held = layers[0]["config"]
        takes = [_joined(branch, found, inputs) for branch in _branches(held["layers"])]
        settings = {key: value for key, value in held.items() if key != "layers"}
        layers = [{"class_name": "Merge", "config": settings}, *layers[1:]]
    else:
        takes = [_input(layers[0], found, inputs)]
        layers = layers[1:] if takes == [layers[0]["config"]["name"]] else layers
    for layer in layers:
        name = layer["config"]["name"]
        found.append({**layer, "name": name, "inbound_nodes": [[[one, 0, 0] for one in takes]]})
        takes = [name]
    (last,) = takes
    return str(last)


def _branches(listed: _Layers) -> Iterator[_Layers]:
    for branch in listed:
        if branch["class_name"] != "Sequential" or not isinstance(branch["config"], list):
            raise TypeError(branch["class_name"])
        yield branch["config"]


def _input(first: dict[str, Any], found: list[dict[str, Any]], inputs: list[str]) -> str:
    """Append the input of a branch, which its first layer records."""
    if first["class_name"] == "InputLayer":
        layer, name = first, first["config"]["name"]
    else:
        name = f"{first['config']['name']}_input"
        kept = ("batch_input_shape", "input_dtype")
        settings = {key: first["config"][key] for key in kept if key in first["config"]}
        layer = {"class_name": "InputLayer", "config": {"name": name, **settings}}
    found.append({**layer, "name": name, "inbound_nodes": []})
    inputs.append(name)
    return str(name)
