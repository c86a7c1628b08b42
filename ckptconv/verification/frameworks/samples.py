"""What layers that are not recurrent are run on: seeded, asymmetric, in torch's layout."""

from __future__ import annotations

from math import prod

import numpy as np

from ckptconv.graph.forms import Facts
from ckptconv.graph.graph import Layer
from ckptconv.graph.kinds import KINDS, Family, Kind
from ckptconv.tensors.regions import Array
from ckptconv.verification.reference.inputs import taming

BATCH, STEPS = 3, 5


def sample(layer: Layer, facts: Facts, seed: int) -> list[Array]:
    """Return a layer's inputs: float32 of (batch, channels, space) or (batch, steps, features).

    Indices are int64. Values are scaled so that the weights' sums stay near one.
    """
    kind, rng = KINDS[layer.kind], np.random.default_rng(seed)
    if "v" in kind.params[0].axes:
        return [rng.integers(0, facts["v"], (BATCH, STEPS))]
    shapes = _shapes(kind, facts)
    weight = layer.params.get("weight")
    scale = 1.0 if weight is None or weight.ndim < 2 else taming(weight, prod(weight.shape[1:]))
    found = [(rng.uniform(-1, 1, shape) * scale).astype(np.float32) for shape in shapes]
    if kind.family is Family.BATCH_NORM and "running_var" in layer.params:
        found = [_like_statistics(found[0], layer)]
    return found


def channels_first(layer: Layer) -> bool:
    """Tell whether torch's layout has the channels before the space."""
    return bool(KINDS[layer.kind].rank) or layer.kind in ("GroupNorm", "PReLU")


def _shapes(kind: Kind, facts: Facts) -> list[tuple[int, ...]]:
    if kind.family in (Family.CONVOLUTION, Family.TRANSPOSED):
        return [(BATCH, facts["c" if "c" in facts else "i"], *_space(kind, facts))]
    if kind.family is Family.ATTENTION:
        widths = (facts["e"], facts["kdim"] or facts["e"], facts["vdim"] or facts["e"])
        lead = (BATCH, STEPS) if facts["batch_first"] else (STEPS, BATCH)
        return [(*lead, width) for width in widths]
    if kind.family is Family.NORM:
        return (
            [(BATCH, *facts["shape"])]
            if len(facts["shape"]) > 1
            else [(BATCH, STEPS, facts["shape"][0])]
        )
    if kind.name == "Bilinear":
        return [(BATCH, facts["i"]), (BATCH, facts["j"])]
    if "n" in facts:
        return [(BATCH, facts["n"], *[STEPS] * (kind.rank or 1))]
    return [(BATCH, STEPS, facts["i"])]


def _space(kind: Kind, facts: Facts) -> list[int]:
    """Return a space in which the dilated kernel has room, more than twice along an axis."""
    kernel, dilation = (_per_axis(facts[name], kind.rank) for name in ("kernel", "dilation"))
    room = zip(kernel, dilation, range(kind.rank), strict=True)
    return [2 * (k - 1) * d + 4 + axis for k, d, axis in room]


def _per_axis(value: object, rank: int) -> list[int]:
    numbers = list(value) if isinstance(value, tuple | list) else [value] * rank
    return [n if isinstance(n, int) else 1 for n in numbers]


def _like_statistics(x: Array, layer: Layer) -> Array:
    """Shift and scale channels to what the layer was trained on, so that nothing cancels."""
    mean, variance = (
        layer.params[name].numpy().astype(np.float64).reshape(-1, *[1] * (x.ndim - 2))
        for name in ("running_mean", "running_var")
    )
    return np.asarray(mean + np.sqrt(np.abs(variance)) * x, np.float32)
