"""Keras as a runner: the user's own model where the file holds it, else one built to fit."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ckptconv.checkpoint import KerasFacts
from ckptconv.codegen.arguments import facts_of
from ckptconv.graph.forms import Facts, slots
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import KINDS, Family
from ckptconv.graph.network import Network
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.keras_gates import as_keras, canonical
from ckptconv.verification.frameworks.keras_model import (
    KerasModel,
    below,
    holds_code,
    loaded_beside,
    loaded_whole,
)
from ckptconv.verification.frameworks.runner import WITHOUT, Arrays, Model, NotRunError, Runner
from ckptconv.verification.frameworks.samples import channels_first
from ckptconv.verification.reference.forward import Inputs, Outputs, weights_of

_BACKENDS = ("torch", "tensorflow", "jax")
_WHOLE = {"return_sequences": True, "go_backwards": False, "stateful": False, "unroll": False}
"""How a user's own recurrent layer is run, whose output is otherwise cut or turned; unrolled it
takes no mask on torch."""

_WIDTHS = ("e", "vdim", "kdim")
"""Of what an attention takes: query, value, key."""


class Keras(Runner):
    module = "keras"

    def _import(self) -> Any:
        found = [name for name in _BACKENDS if importlib.util.find_spec(name) is not None]
        os.environ.setdefault("KERAS_BACKEND", (found or ["torch"])[0])
        return super()._import()

    def _open(self, graph: Graph) -> Callable[[Layer], Arrays]:
        """Let Keras load the file; every layer holds its own weights then."""
        self._mine = self._users_layers(graph)
        self._held = self._mine or self._built_to_fit(graph)
        return self._weights

    def _model(self, graph: Graph, network: Network, *, beside: bool) -> Model:
        return KerasModel(self._framework, graph.origin, network, beside=beside)

    def _weights(self, layer: Layer) -> Arrays:
        made = self._held.get(layer.path)
        if made is None:
            raise NotRunError("is not found in the model that Keras loads")
        if isinstance(layer, RecurrentLayer):
            return canonical(weights_of(layer), made.get_weights())
        own = {slot.name: param.name for param, slot in slots(layer.kind, self.forms) if slot}
        return {own[n]: array for n, array in _named(made) if n in own}

    def _users_layers(self, graph: Graph) -> dict[str, Any]:
        """Return the layers of the user's model by path; none where only weights are known."""
        facts, file = graph.origin.facts, graph.origin.path
        config = facts.config if isinstance(facts, KerasFacts) else None
        if config is None or holds_code(config):
            return {}
        model = None
        for load in (loaded_whole, loaded_beside):
            with suppress(Exception):  # another version's, or of classes that are not here
                model = model or load(self._framework, file, config)
        found: dict[str, Any] = {}
        for path, layer in below(model):
            for spelt in (path, path.replace("/", "."), path.rpartition("/")[2]):
                found.setdefault(spelt, layer)
        return found

    def _built_to_fit(self, graph: Graph) -> dict[str, Any]:
        """Build every layer of the file side by side, and let Keras load the file into them."""
        branches, inputs, outputs = {}, [], []
        for layer in graph:
            with suppress(NotRunError):
                branches[layer.path], given, made = self._branch(layer)
                inputs += given
                outputs.append(made)
        if not branches:
            problem = "no layer can be rebuilt from the weights alone"
            raise NotRunError(problem, file=graph.origin.path, hint=WITHOUT)
        model = self._framework.Model(inputs, outputs)
        name = graph.origin.path.lower()
        legacy = name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5")
        model.load_weights(graph.origin.path, **({"by_name": True} if legacy else {}))
        return branches

    def _branch(self, layer: Layer) -> tuple[Any, list[Any], Any]:
        """Return a layer, symbolic inputs, and what it makes of them."""
        form = self.forms.get(layer.kind)
        if form is None or layer.kind == "PReLU" or "." in layer.path:
            raise NotRunError("cannot be rebuilt to load this file")
        given = [self._framework.Input(shape, dtype=dtype) for shape, dtype in self._inputs(layer)]
        cell = isinstance(layer, RecurrentLayer) and layer.is_cell
        if isinstance(layer, RecurrentLayer) and not cell:
            made = self._recurrent(layer)
        else:
            made = self.build(form.call, facts_of(layer, self.forms), name=_name(layer.path))
        if cell:
            return made, given, made(given[0], given[1:])[0]
        return made, given, made(*given)

    def call(self, layer: Layer, facts: Facts, held: Arrays, given: Sequence[Array]) -> Array:
        """See ``Runner.call``; Keras has the batch first."""
        if layer.kind != "MultiheadAttention" or facts["batch_first"]:
            return super().call(layer, facts, held, given)
        turned = [np.swapaxes(array, 0, 1) for array in given]
        return np.swapaxes(super().call(layer, facts, held, turned), 0, 1)

    def _call(
        self,
        layer: Layer,
        built: list[Any],
        values: Arrays,
        given: Sequence[Array],
    ) -> Array:
        held = self._held[layer.path]
        made = _changed(held, activation="linear") if self._mine else built[1]
        turned = channels_first(layer) and _channels_last(made)
        found = [np.moveaxis(array, 1, -1) if turned else array for array in given]
        if layer.kind == "MultiheadAttention":
            found = [found[0], found[2], found[1]]  # query, value, key
        weights = [values.get(name, array) for name, array in _named(held)]
        steps = [made] if self._mine else list(filter(None, built))
        for _ in range(2):  # once to make the weights
            y: Any = found
            for step in steps:
                y = [step(*y)]
            made.set_weights(weights)
        array = np.asarray(self._framework.ops.convert_to_numpy(y[0]))
        return np.moveaxis(array, -1, 1) if turned else array

    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
        sizes = weights_of(layer)
        directions = sizes.shape[1]
        made = self._recurrent(layer, return_state=True)
        made.build(given.x.shape)
        made.set_weights(as_keras(sizes, arrays))
        per = [[s[d] for s in (given.h, given.c) if s.size] for d in range(directions)]
        mask = np.arange(given.x.shape[1]) < given.lengths[:, None]
        y, *states = made(
            np.asarray(given.x, np.float32),
            initial_state=[np.asarray(s, np.float32) for side in per for s in side],
            mask=mask,
        )
        to_numpy = self._framework.ops.convert_to_numpy
        found = [np.asarray(to_numpy(state)) for state in states]
        count = len(found) // directions
        h = np.stack(found[::count])
        c = np.stack(found[1::count]) if count == 2 else np.zeros(0)
        return Outputs(np.asarray(to_numpy(y)) * mask[:, :, None], h, c)

    def _recurrent(self, layer: RecurrentLayer, **options: Any) -> Any:
        """Return a layer that gives every step: the user's own, or by the table's call."""
        mine = self._mine.get(layer.path)
        if mine is not None and not layer.is_cell:
            return _changed(mine, **_WHOLE, **options)
        form = self.forms[layer.base]
        if form is None or weights_of(layer).shape[0] != 1:
            raise NotRunError("Keras has no such layer")
        facts = facts_of(layer, self.forms) | {"return_sequences": True}
        made = self.build(form.call, facts, name=_name(layer.path), **options)
        if not facts["bidirectional"]:
            return made
        return getattr(self._framework.layers, form.pair)(made, name=_name(layer.path))

    def _inputs(self, layer: Layer) -> list[tuple[tuple[int | None, ...], str]]:
        """Return the shapes and dtypes of inputs that a layer takes."""
        if isinstance(layer, RecurrentLayer):
            sizes = weights_of(layer)
            if not layer.is_cell:
                return [((None, sizes.input_size), "float32")]
            states = [sizes.shape[2]] * (2 if sizes.kind == "LSTM" else 1)
            return [((width,), "float32") for width in (sizes.input_size, *states)]
        kind, facts = KINDS[layer.kind], facts_of(layer, self.forms)
        if kind.family is Family.ATTENTION:
            return [((None, facts[width] or facts["e"]), "float32") for width in _WIDTHS]
        shape = next(iter(layer.params.values())).shape
        if "v" in kind.params[0].axes:
            return [((None,), "int32")]
        if kind.family in (Family.CONVOLUTION, Family.TRANSPOSED):
            return [((*[None] * kind.rank, facts["i"]), "float32")]
        return [(shape if kind.family is Family.NORM else shape[-1:], "float32")]


class TfKeras(Keras):
    """Keras before 3, whose hard_sigmoid and defaults are others, as a package of today."""

    module = "tf_keras"
    why = ", a file of Keras before 3,"


def _changed(layer: Any, **options: Any) -> Any:
    """Return a layer like this one, not built yet, with other options where it has them."""
    config = dict(layer.get_config())
    for inner in ("layer", "backward_layer"):
        if isinstance(config.get(inner), dict):
            own = dict(config[inner]["config"])
            turned = {"go_backwards": own.get("go_backwards")} if inner != "layer" else {}
            own |= {name: value for name, value in options.items() if name in own} | turned
            config[inner] = config[inner] | {"config": own}
    config |= {name: value for name, value in options.items() if name in config}
    return type(layer).from_config(config)


def _named(layer: Any) -> list[tuple[str, Array]]:
    """Return a layer's weights, in Keras's order, by the last words of their names."""
    return [(w.name, array) for w, array in zip(layer.weights, layer.get_weights(), strict=True)]


def _channels_last(layer: Any) -> bool:
    axis = getattr(layer, "axis", -1)
    first = (axis[0] if isinstance(axis, list | tuple) else axis) == 1
    return not first and getattr(layer, "data_format", "channels_last") == "channels_last"


def _name(path: str) -> str:
    return path.replace("/", "_") or "layer"
