"""Keras as a runner: a model built to fit a file, filled by ``load_weights``."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ckptconv import dialects
from ckptconv.codegen.arguments import facts_of
from ckptconv.errors import CkptconvError
from ckptconv.graph.forms import stored_by_row
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import KINDS, Family
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.runner import Arrays, Runner
from ckptconv.verification.reference.forward import GATES, Inputs, Outputs, Weights, weights_of
from ckptconv.verification.stored_weights import KERAS_GATES

FORMS = dialects.dialect("keras").forms
_BACKENDS = ("torch", "tensorflow", "jax")


class Keras(Runner):
    module = "keras"

    def _import(self) -> Any:
        found = [name for name in _BACKENDS if importlib.util.find_spec(name) is not None]
        os.environ.setdefault("KERAS_BACKEND", (found or ["torch"])[0])
        return super()._import()

    def _open(self, graph: Graph, select: str | None) -> Callable[[RecurrentLayer], Arrays]:  # noqa: ARG002
        """Build every layer of the file side by side, and let Keras load the file into them."""
        branches, inputs, outputs = {}, [], []
        for layer in graph:
            branches[layer.path], given, made = self._branch(layer)
            inputs += given
            outputs.append(made)
        model = self._framework.Model(inputs, outputs)
        name = graph.origin.path.lower()
        legacy = name.endswith((".h5", ".hdf5")) and not name.endswith(".weights.h5")
        model.load_weights(graph.origin.path, **({"by_name": True} if legacy else {}))
        return lambda layer: _canonical(weights_of(layer), branches[layer.path].get_weights())

    def _branch(self, layer: Layer) -> tuple[Any, list[Any], Any]:
        """Return a layer, symbolic inputs, and what it makes of them."""
        layers, shapes = self._framework.layers, _inputs(layer)
        given = [self._framework.Input(shape, dtype=dtype) for shape, dtype in shapes]
        if isinstance(layer, RecurrentLayer) and layer.is_cell:
            sizes = weights_of(layer)
            cell = getattr(layers, _class(layer.kind))(
                sizes.shape[2], use_bias=sizes.cells[0, 0].b_ih is not None, name=_name(layer.path)
            )
            return cell, given, cell(given[0], given[1:])[0]
        if isinstance(layer, RecurrentLayer):
            made = self._recurrent(layer)
        else:
            made = _plain(layers, layer)
        return made, given, made(given[0])

    def _run(self, layer: RecurrentLayer, arrays: Arrays, given: Inputs) -> Outputs:
        sizes = weights_of(layer)
        directions = sizes.shape[1]
        made = self._recurrent(layer, return_state=True)
        made.build(given.x.shape)
        made.set_weights(_keras(sizes, arrays))
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
        sizes = weights_of(layer)
        levels, directions, hidden, _ = sizes.shape
        if levels != 1:
            raise CkptconvError("Keras has no layer of several levels", tensor=layer.path)
        options |= {"activation": "relu"} if sizes.style.activation == "relu" else {}
        bias = next(iter(sizes.cells.values())).b_ih is not None
        made = getattr(self._framework.layers, _class(sizes.kind))(
            hidden, use_bias=bias, return_sequences=True, name=_name(layer.path), **options
        )
        if directions == 1:
            return made
        return self._framework.layers.Bidirectional(made, name=_name(layer.path))


def _class(kind: str) -> str:
    form = FORMS[kind]
    return form.call.name if form else ""


def _canonical(sizes: Weights, held: list[Array]) -> dict[str, Array]:
    """Return Keras's weights under canonical names."""
    arrays: dict[str, Array] = {}
    to = _order(KERAS_GATES[sizes.kind], GATES[sizes.kind])
    count = len(held) // sizes.shape[1]
    for d, suffix in list(enumerate(("_l0", "_l0_reverse")))[: sizes.shape[1]]:
        kernel, recurrent, *bias = (to(w) for w in held[d * count : (d + 1) * count])
        arrays |= {f"weight_ih{suffix}": kernel.T, f"weight_hh{suffix}": recurrent.T}
        if bias:
            rows = bias[0] if bias[0].ndim == 2 else np.stack([bias[0], np.zeros_like(bias[0])])
            arrays |= {f"bias_ih{suffix}": rows[0], f"bias_hh{suffix}": rows[1]}
    return arrays


def _keras(sizes: Weights, arrays: Mapping[str, Array]) -> list[Array]:
    """Return canonical arrays as Keras holds them."""
    held = []
    to = _order(GATES[sizes.kind], KERAS_GATES[sizes.kind])
    for suffix in ("_l0", "_l0_reverse")[: sizes.shape[1]]:
        held += [to(arrays[f"weight_{name}{suffix}"].T) for name in ("ih", "hh")]
        if f"bias_ih{suffix}" in arrays:
            rows = np.stack([arrays[f"bias_{name}{suffix}"] for name in ("ih", "hh")])
            held.append(to(rows if sizes.kind == "GRU" else rows.sum(axis=0)))
    return held


def _order(src: str, dst: str) -> Callable[[Array], Array]:
    """Return a function that reorders gates stacked along the last axis."""

    def reorder(array: Array) -> Array:
        blocks = np.split(array, len(src), axis=-1)
        return np.concatenate([blocks[src.index(letter)] for letter in dst], axis=-1)

    return reorder


def _plain(layers: Any, layer: Layer) -> Any:
    form = FORMS.get(layer.kind)
    if form is None or not stored_by_row(layer.kind):
        raise CkptconvError(
            f"a {layer.kind} cannot be rebuilt to load this file",
            tensor=layer.path,
            hint="the proof without --run, which needs no framework",
        )
    return form.call.build(layers, facts_of(layer, FORMS), name=_name(layer.path))


def _inputs(layer: Layer) -> list[tuple[tuple[int | None, ...], str]]:
    """Return the shapes and dtypes of inputs that a layer takes."""
    if isinstance(layer, RecurrentLayer):
        sizes = weights_of(layer)
        if layer.is_cell:
            states = 2 if sizes.kind == "LSTM" else 1
            return [
                ((width,), "float32") for width in (sizes.input_size, *[sizes.shape[2]] * states)
            ]
        return [((None, sizes.input_size), "float32")]
    kind = KINDS[layer.kind]
    shape = next(iter(layer.params.values())).shape
    if "v" in kind.params[0].axes:
        return [((None,), "int32")]
    if kind.family in (Family.CONVOLUTION, Family.TRANSPOSED):
        return [((*[None] * kind.rank, facts_of(layer, FORMS)["i"]), "float32")]
    return [(shape if kind.family is Family.NORM else shape[-1:], "float32")]


def _name(path: str) -> str:
    return path.replace("/", "_") or "layer"
