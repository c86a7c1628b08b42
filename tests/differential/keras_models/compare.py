"""Each layer of a report beside the layer of Keras whose weights it holds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

import ckptconv
from tests.differential.keras_models.build import Calls
from tests.differential.keras_models.notes import AFTER, BEFORE, Place, apply
from tests.differential.outcome import Outcome, Result
from tests.differential.targets import Unfit, construct, difference, load, loaded, run

LIMIT = {"torch": 2e-5, "mindspore": 3e-4, "mint": 3e-4}  # MindSpore's tanh on CPU
_SYNONYMS = {
    "epsilon": "eps",
    "strides": "stride",
    "dilation_rate": "dilation",
    "activation": "(?:activation|nonlinearity)",
    "groups": "(?:num_)?groups",
}
_HARMLESS = ("name", "dropout", "recurrent_dropout", "momentum", "unroll", "units", "use_bias",
             "filters", "kernel_size", "scale", "center", "layer", "backward_layer", "cell",
             "cells", "seed", "dtype", "trainable", "kernel_initializer", "output_shape",
             "key_dim", "value_dim", "input_dim", "output_dim", "mask_zero", "head_dim",
             "num_query_heads", "num_key_value_heads", "lora_rank", "lora_alpha",
             "quantization_config", "zero_output_for_mask")  # fmt: skip


@dataclass(frozen=True)
class Source:
    """The Keras model, its calls on one input, and the file that was made of it."""

    model: Any
    calls: Mapping[int, Calls]
    path: Path
    configured: bool


def compare(source: Source, report: Any, path: Path, target: str) -> Outcome:
    """Build every layer of the report and hold it against Keras's."""
    weights = loaded(path, target)
    groups: dict[int, tuple[Any, list[Any]]] = {}
    owners = _Owners(source)
    noted = False
    for entry in report.layers:
        if entry.kind == "Parameter" or not entry.constructor:
            noted = True
            continue
        if entry.evidence.startswith("fused of "):
            outcome = _fused(source, owners, entry, weights, target)
            if outcome.result is Result.SILENT:
                return outcome
            continue
        owner = owners.of(entry)
        groups.setdefault(id(owner), (owner, []))[1].append(entry)
    for owner, entries in groups.values():
        outcome = _layer(source, owner, entries, weights, target)
        if outcome.result is Result.SILENT:
            return outcome
        noted |= outcome.result is Result.NOTED
    return Outcome(Result.NOTED if noted else Result.EQUAL)


def _layer(
    source: Source, owner: Any, entries: list[Any], weights: dict[str, Any], target: str
) -> Outcome:
    calls = source.calls.get(id(owner))
    about = f"{type(owner).__name__} {owner.name}: " + "; ".join(
        f"{e.path} {e.kind} {e.constructor} {e.notes} {e.unknown}" for e in entries
    )
    if calls is None:
        return Outcome(Result.NOTED, "never called", about)
    try:
        found, told = _run(owner, entries, calls, weights, target)
    except Unfit as error:
        missing = _untold(owner, entries)
        if missing == [] and _assumes(entries):
            return Outcome(Result.NOTED, "another setting than is assumed", about)
        return Outcome(Result.SILENT, _reason(owner, str(error)), f"{about}\n{error}\n{missing}")
    expected = calls.made[0][0] if isinstance(calls.made[0], tuple) else calls.made[0]
    gap = difference(found, expected)
    if gap <= LIMIT[target]:
        return Outcome(Result.NOTED if told else Result.EQUAL)
    missing = _untold(owner, entries)
    if missing == [] and _assumes(entries):
        return Outcome(Result.NOTED, "another setting than is assumed", about)
    shapes = f"found {found.shape}, expected {expected.shape}, differs by {gap:.3g}"
    return Outcome(
        Result.SILENT, _reason(owner, "other numbers"), f"{about}\n{shapes}\nuntold: {missing}"
    )


def _fused(
    source: Source, owners: _Owners, entry: Any, weights: dict[str, Any], target: str
) -> Outcome:
    """Hold one layer that was made of several against the last of them, fed as the first."""
    levels: dict[str, list[Any]] = {}
    for tensor in entry.tensors:
        levels.setdefault(re.findall(r"_l(\d+)", tensor.target)[-1], []).append(tensor)
    parts = [owners.of(entry, tensors) for _, tensors in sorted(levels.items())]
    first, last = (source.calls.get(id(part)) for part in (parts[0], parts[-1]))
    if first is None or last is None:
        return Outcome(Result.SILENT, "fused layers that are never called", entry.constructor)
    joined = Calls(first.given, last.made)
    return _layer(
        replace(source, calls={id(parts[-1]): joined}), parts[-1], [entry], weights, target
    )


def _assumes(entries: list[Any]) -> bool:
    """Tell whether the report says of these layers that no configuration tells their class."""
    return any(word.startswith("class (") for e in entries for word in e.unknown)


def _reason(owner: Any, text: str) -> str:
    return f"{type(owner).__module__.split('.')[0]}.{type(owner).__name__}: " + re.sub(
        r"[\d(\[].*", "…", text
    )


def _run(
    owner: Any, entries: list[Any], calls: Calls, weights: dict[str, Any], target: str
) -> tuple[np.ndarray, bool]:
    """Return (what the chain of a report's layers makes of Keras's input, whether notes told)."""
    args, kwargs = calls.given[0]
    given = [*args, *(kwargs[k] for k in ("value", "key") if k in kwargs)]
    given = list(given[0]) if isinstance(given[0], tuple) else given
    told = False
    for i, entry in enumerate(entries):
        place = Place(entry.constructor, _activation(owner), owner)
        layers = construct(_completed(entry, owner), target)
        prefix = f"{entry.path}." if entry.path else ""
        own = {n.removeprefix(prefix): weights[n] for t in entry.tensors for n in [t.target]}
        load(layers, own, target)
        if entry.kind == "MultiheadAttention":
            given = [*given, *given[-1:] * (3 - len(given))][:3]
            if any("(query, value, key)" in note for note in entry.notes):
                given = [given[0], given[2], given[1]]
        elif entry.kind.endswith("Cell"):
            states = tuple(given[1]) if isinstance(given[1], tuple) else (given[1],)
            found = _cell(layers, given[0], states, target)
            return found, told
        else:
            given = [given[0] if i == 0 else found]
            if "Embedding" in entry.kind:
                given = [np.asarray(given[0]).astype("int32" if target != "torch" else "int64")]
        given = [apply(BEFORE, entry.notes, g, place) for g in given]
        found = run(layers, given, target)
        changed = apply(AFTER, entry.notes, found, place)
        told |= bool(entry.notes)
        found = changed
    return found, told


def _cell(layers: list[Any], x: Any, states: tuple[Any, ...], target: str) -> np.ndarray:
    class Joined:
        def __call__(self, x: Any, *states: Any) -> Any:
            return layers[0](x, states if len(states) > 1 else states[0])

    return run([Joined()], [x, *states], target)


def _completed(entry: Any, owner: Any) -> str:
    """Fill in what the report says must be given, from the layer's own settings."""
    config = _config(owner)
    text = str(entry.constructor)
    for word in entry.unknown:
        name = word.split(" ")[0]
        value = config.get({"num_groups": "groups"}.get(name, name))
        if "must be given" in word and isinstance(value, int):
            text = text.replace("?", repr(value), 1)
    return text


def _activation(owner: Any) -> Any:
    inner = getattr(owner, "layer", owner)
    function = getattr(inner, "activation", None)
    if function is None:
        return None

    def call(x: Any) -> Any:
        import keras

        return keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(x)))

    return call


def _untold(owner: Any, entries: list[Any]) -> list[str]:
    """Return the settings of a layer that are not its class's defaults and no entry tells."""
    told = " ".join(text for e in entries for text in (*e.unknown, *e.notes))
    found = [] if type(owner).__module__.startswith("keras.") else ["class"]
    for part in _parts(owner):
        config = _config(part)
        for name, parameter in _parameters(type(part)).items():
            if name in _HARMLESS or name.endswith(("initializer", "regularizer", "constraint")):
                continue
            value, default = config.get(name), parameter.default
            value = None if value in ("linear", "channels_last") else value
            default = None if default == "linear" else default
            same = value in (default, None) or str(value) == str(default)
            if not same and value not in ([default], (default,)):
                found.append(_SYNONYMS.get(name, name))
    return [name for name in dict.fromkeys(found) if not re.search(rf"\b{name} ", told)]


def _parts(owner: Any) -> list[Any]:
    names = ("layer", "forward_layer", "backward_layer", "cell")
    inner = [getattr(owner, name) for name in names if hasattr(owner, name)]
    cells = list(getattr(owner, "cells", []))
    return [owner, *(part for layer in [*inner, *cells] for part in _parts(layer))]


def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    given = inspect.signature(cls.__init__).parameters
    return {k: p for k, p in given.items() if p.default is not inspect.Parameter.empty}


def _config(layer: Any) -> dict[str, Any]:
    try:
        return dict(layer.get_config())
    except Exception:
        return {}


class _Owners:
    """Which of Keras's layers holds the weights that a report's layer was made of, by value."""

    def __init__(self, source: Source) -> None:
        self._stored = ckptconv.inspect(source.path).tensors
        self._layers = list(source.model._flatten_layers(include_self=True, recursive=True))
        self._calls = source.calls
        self._known: dict[Any, int] = {}
        for layer in self._layers:
            if getattr(layer, "lora_enabled", False):
                name = "kernel" if hasattr(layer, "kernel") else "embeddings"
                kernel = keras.ops.convert_to_numpy(getattr(layer, name))
                self._known[_key(kernel)] = id(getattr(layer, f"_{name}"))
        for variable in source.model.variables:
            self._known[_key(np.asarray(variable.numpy()))] = id(variable)

    def of(self, entry: Any, tensors: list[Any] | None = None) -> Any:
        """Return the layer that holds all weights of ``entry``, or those behind ``tensors``."""
        names = {name for tensor in tensors or entry.tensors for name in tensor.sources}
        keys = {_key(self._stored[name].numpy()) for name in names}
        wanted = {self._known[key] for key in keys if key in self._known}
        holding = [x for x in self._layers if wanted <= {id(v) for v in x.variables}]
        fewest = min(len(layer.variables) for layer in holding)
        tied = [layer for layer in holding if len(layer.variables) == fewest]
        if entry.kind in ("LSTM", "GRU", "RNN"):
            single = [layer for layer in tied if hasattr(layer, "cell")]
            tied = single or [x for x in self._layers if tied[-1] in _cells(x)] or tied
        called = [layer for layer in tied if id(layer) in self._calls]
        return (called or tied)[-1]


def _cells(layer: Any) -> list[Any]:
    return list(getattr(getattr(layer, "cell", None), "cells", []))


def _key(values: np.ndarray) -> tuple[tuple[int, ...], bytes]:
    return values.shape, np.ascontiguousarray(values).tobytes()
