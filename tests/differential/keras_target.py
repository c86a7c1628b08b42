"""Keras as a target: a layer of the report inside a model, filled by Keras itself and run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_WEIGHTLESS = ("ZeroPadding", "Cropping")


def loaded(path: Path) -> dict[str, np.ndarray]:
    """Return name → values of every dataset of an HDF5 file."""
    found: dict[str, np.ndarray] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.size:
            found[name] = item[()]

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def layer_name(path: str) -> str:
    """Return what a layer is called in a legacy file: torch's backend has no names with dots."""
    return path.replace(".", "_")


def dotted(name: str, paths: tuple[str, ...]) -> str:
    """Return a weight's name in a legacy file with one of these paths as the network spells it."""
    layer, _, rest = name.partition("/")
    for path in paths:
        if f"{layer}_".startswith(f"{layer_name(path)}_"):
            return f"{path}.{rest}"
    return layer


def leaf(name: str) -> str:
    """Return the last word of a weight's name: ``fc/fc/kernel:0``."""
    return name.rpartition("/")[2].removesuffix(":0")


def filled(layers: Sequence[Any], path: str, given: list[np.ndarray], file: Path) -> Any:
    """Return a model of these layers in a row, to which Keras has loaded the file.

    Raises:
        ValueError: a layer is not in the file, or its weights are others.
    """
    import keras

    holders = [x for x in layers if not type(x).__name__.startswith(_WEIGHTLESS)]
    legacy = not file.name.endswith(".weights.h5")
    for k, layer in enumerate(holders):
        if path:
            name = layer_name(path)
            layer.name = name if len(holders) == 1 else f"{name}_l{k}"
    inputs = [keras.Input(a.shape[1:], dtype=a.dtype.name) for a in given]
    value: Any = _call(layers[0], inputs)
    for layer in layers[1:]:
        value = layer(value)
    model = keras.Model(inputs, value)
    with h5py.File(file) as stored:
        missing = [x.name for x in holders if x.weights and x.name not in stored]
    if legacy and missing:
        raise ValueError(f"{missing} not in the file")
    model.load_weights(file, **({"by_name": True} if legacy else {}))
    return model


def _call(layer: Any, inputs: list[Any]) -> Any:
    import keras

    if isinstance(layer, keras.layers.MultiHeadAttention):
        return layer(*inputs)
    if type(layer).__name__.endswith("Cell"):
        return layer(inputs[0], inputs[1:])[0]
    return layer(inputs[0])


def run(model: Any, given: list[np.ndarray]) -> np.ndarray:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(model(given, training=False)))
