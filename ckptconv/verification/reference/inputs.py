"""What layers are run on: seeded, ragged, with states that are not zero, and never saturating."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.tensors.computed import add, cast
from ckptconv.tensors.dtypes import DType
from ckptconv.tensors.regions import Array, whole
from ckptconv.tensors.tensor import FilledTensor, Tensor
from ckptconv.verification.reference.arithmetic import (
    ASCEND,
    EXACT,
    FLOAT32,
    MINDSPORE_CPU,
    Arithmetic,
)
from ckptconv.verification.reference.forward import Inputs, Outputs, Weights, forward, weights_of
from ckptconv.verification.reference.matrix import HELD
from ckptconv.verification.stored_weights import own_weights

BATCH, STEPS = 4, 6
FLOOR = 2e-6
"""What float32 may lose in any framework, per unit of ``scale``."""
SHOWN_NOTHING = "its outputs are no finite numbers, which shows nothing"
_SAMPLE = 64
_MARGIN = 4
_REMAINDER = 1e-3
"""The least that is left of numbers near 1 in anything but a network made to show it."""

Limits = tuple[float, ...]
"""What outputs, h_n and c_n may be off by: c grows where the others do not."""
_EMULATIONS: dict[tuple[str, str], tuple[Arithmetic, ...]] = {
    ("mindspore", "CPU"): (MINDSPORE_CPU,),
    ("mindspore", "Ascend"): (ASCEND,),
}
"""(framework, device) → what its arithmetic is known to do beside float32's rounding."""


def probe(weights: Weights, seed: int = 0) -> Inputs:
    """Return float32 inputs for a layer, with ragged lengths and states that are not zero.

    They are scaled so that the weights' sums stay near one: a saturated gate hides differences,
    and frameworks approximate badly there. A layer too large to hold gets two sequences of one
    step, which read every weight once.
    """
    layers, directions, hidden, out = weights.shape
    first, width = weights.cells[0, 0], weights.input_size
    batch, steps = (2, 1) if first.w_hh.nbytes > HELD else (BATCH, STEPS)
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (batch, steps, width)) * taming(first.w_ih, width)
    states = (layers * directions, batch)
    h = rng.uniform(-1, 1, (*states, out)) * taming(first.w_hh, out)
    c = rng.uniform(-1, 1, (*states, hidden) if weights.kind == "LSTM" else 0)
    lengths = np.linspace(steps, 1, batch).round().astype(np.int64)
    return Inputs(x.astype(np.float32), lengths, h.astype(np.float32), c.astype(np.float32))


def run_chain(
    chain: Sequence[RecurrentLayer], given: Inputs, run: Callable[[RecurrentLayer, Inputs], Outputs]
) -> Outputs:
    """Run layers one after the other, each with its share of the states."""
    y, at = given.x, 0
    h, c = [], []
    for layer in chain:
        count = layer.num_layers * layer.num_directions
        part = Inputs(y, given.lengths, given.h[at : at + count], given.c[at : at + count])
        found = run(layer, part)
        y, at = found.y, at + count
        h.append(found.h)
        c.append(found.c)
    return Outputs(y, np.concatenate(h), np.concatenate(c))


def reference(
    graph: Graph, chain: Sequence[RecurrentLayer], given: Inputs, arithmetic: Arithmetic = EXACT
) -> Outputs:
    """Run layers of a file in NumPy, on the file's own tensors."""
    return run_chain(
        chain, given, lambda layer, part: forward(own_weights(graph, layer), part, arithmetic)
    )


def floors(exact: Outputs) -> Limits:
    """Return what float32 may lose at most, for outputs and states of these sizes."""
    return tuple(FLOOR * scale(array) for array in exact)


def scale(exact: Array) -> float:
    """Return what a tolerance grows with: the largest output, or 1 for what it may be left of.

    Outputs below 0.001, such as the probabilities of many classes, are no remainders of numbers
    near 1: were they taken for such, zeros would pass for them.
    """
    size = float(np.abs(exact[np.isfinite(exact)]).max(initial=0))
    return max(min(1.0, size / _REMAINDER), size) if size else 1.0


def known_error(
    exact: Outputs, framework: str, device: str, run: Callable[[Arithmetic], Outputs]
) -> Limits:
    """Return how far a framework's arithmetic on a device may be from exact outputs and states.

    Args:
        run: computes the same layer in an emulation of that arithmetic.
    """
    emulations = (FLOAT32, *_EMULATIONS.get((framework, device), ()))
    found = [_distances(run(arithmetic), exact) for arithmetic in emulations]
    worst = map(max, zip(*found, strict=True))
    return tuple(least + _MARGIN * gap for least, gap in zip(floors(exact), worst, strict=True))


def rounding_error(
    layer: RecurrentLayer,
    dtype: DType,
    given: Inputs,
    exact: Outputs,
    follow: Callable[[Outputs], Outputs] = lambda outputs: outputs,
) -> Limits:
    """Return what rounding a layer's weights to ``dtype`` may move its outputs and states by.

    Biases are added as Keras has them, which rounds their sum.

    Args:
        follow: what comes after the layer, before its outputs are compared.
    """
    params = dict(layer.params)
    for name in [n for n in params if n.startswith("bias_ih") and layer.base != "GRU"]:
        other = name.replace("_ih", "_hh")
        params[name] = add(params[name], params[other])
        params[other] = FilledTensor(params[other].shape, dtype)
    params = {name: cast(tensor, dtype) for name, tensor in params.items()}
    rounded = forward(weights_of(replace(layer, params=params)), given)
    return tuple(_MARGIN * gap for gap in _distances(follow(rounded), exact))


def distance(a: Array, b: Array) -> float:
    """Return the largest difference of two arrays; infinite where only one is NaN."""
    x, y = (array.astype(np.float64, copy=False) for array in (a, b))
    with np.errstate(invalid="ignore"):
        gap = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0, np.abs(x - y))
    return float(np.where(np.isnan(gap), np.inf, gap).max(initial=0))


def shows(outputs: Array) -> bool:
    """Tell whether outputs are numbers: whatever is computed, NaN is not what it should not be."""
    return bool(np.isfinite(outputs).any())


def _distances(a: Outputs, b: Outputs) -> Limits:
    return tuple(distance(one, other) for one, other in zip(a, b, strict=True))


def taming(weight: Tensor, width: int) -> float:
    """Return a factor of at most one that keeps sums of ``width`` products near one.

    The first rows of the weight speak for all of it.
    """
    first, *others = whole(weight.shape)
    rows = weight.read(((0, min(_SAMPLE, first[1])), *others))
    if not rows.size:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(np.sqrt(np.mean(np.square(rows.astype(np.float64))) * width))
    return min(1.0, 1 / spread) if 0 < spread < np.inf else 1.0
