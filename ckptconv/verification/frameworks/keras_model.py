"""A whole Keras model: the user's own, or one of a configuration with the file's weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.errors import CkptconvError
from ckptconv.graph.network import Network
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.runner import WITHOUT_NETWORK, Model, leaves
from ckptconv.verification.reference.arithmetic import half

_CODE = ('"Lambda"', '"__lambda__"')
"""Layers and functions that are Python code in the file, which is never run."""


def holds_code(config: Mapping[str, Any]) -> bool:
    """Tell whether a configuration has a layer or a function that is code."""
    text = json.dumps(config)
    return any(word in text for word in _CODE)


def before_3(facts: object) -> bool:
    """Tell whether a file is of a Keras whose functions and defaults Keras 3 has not."""
    version = facts.keras_version if isinstance(facts, KerasFacts) else ""
    return version.partition(".")[0] in ("0", "1", "2")


def loaded_whole(keras: Any, path: str, _: Mapping[str, Any]) -> Any:
    """Let Keras load the model that a file holds."""
    return keras.models.load_model(path, compile=False)


def loaded_beside(keras: Any, path: str, config: Mapping[str, Any]) -> Any:
    """Let Keras build a model of its configuration, and load the weights of a file."""
    model = keras.models.model_from_json(json.dumps(config))
    model.load_weights(path)
    return model


class KerasModel(Model):
    """A model that Keras loads and calls.

    Args:
        keras: Keras 3 or tf_keras.
        network: names the inputs that the model is given.
        beside: its configuration does not stand in the file, which holds weights alone.
    """

    def __init__(self, keras: Any, origin: Checkpoint, network: Network, *, beside: bool) -> None:
        facts = origin.facts
        config = facts.config if isinstance(facts, KerasFacts) else None
        if config is None or holds_code(config):
            problem = "a Lambda is code in the model, which is never run"
            raise CkptconvError(problem, file=origin.path, hint=WITHOUT_NETWORK)
        self._keras, self._names = keras, [value.name for value in network.inputs]
        self._model = (loaded_beside if beside else loaded_whole)(keras, origin.path, config)
        self.names = tuple(getattr(self._model, "output_names", ()))
        inputs = self._model.inputs
        names = getattr(self._model, "input_names", None) or [value.name for value in inputs]
        self._own = {name: tuple(value.shape) for name, value in zip(names, inputs, strict=True)}
        self.batch = next((shape[0] for shape in self._own.values() if shape[0]), None)

    def __call__(self, given: Sequence[Array]) -> list[Array]:
        """Return the outputs from states of zero."""
        for _, layer in below(self._model):
            for name in ("reset_states", "reset_state"):
                if getattr(layer, "stateful", False) and hasattr(layer, name):
                    getattr(layer, name)()
        results = self._model(self._asked(given), training=False)
        return [self._array(value) for value in leaves(results, sorted)]

    def _asked(self, given: Sequence[Array]) -> Any:
        """Return inputs in the structure that the model was made with."""
        if len(self._own) == 1:
            return given[0]
        known = dict(zip(self._names, given, strict=True))
        form = getattr(self._model, "input", None)
        if isinstance(form, Mapping):
            return {key: known[value.name] for key, value in form.items()}
        return [known[name] for name in self._own]

    def halve(self) -> None:
        self._model.set_weights([half(np.asarray(w)) for w in self._model.get_weights()])

    def _array(self, value: Any) -> Array:
        convert = self._keras.ops.convert_to_numpy if hasattr(self._keras, "ops") else np.asarray
        return np.asarray(convert(value))


def below(model: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the layers of a model, and of models in it, by the names on the way to them."""
    for layer in getattr(model, "layers", ()):
        here = f"{path}/{layer.name}" if path else layer.name
        inside = layer.layer if type(layer).__name__ == "TimeDistributed" else layer
        yield here, inside
        if inside is not layer:
            yield f"{here}/{inside.name}", inside
        yield from below(inside, here)
