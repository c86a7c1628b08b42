"""Recurrent weights between Keras's order of gates and the canonical one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ckptconv.tensors.regions import Array
from ckptconv.verification.reference.forward import GATES, Weights
from ckptconv.verification.stored_weights import KERAS_GATES


def canonical(sizes: Weights, held: list[Array]) -> dict[str, Array]:
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


def as_keras(sizes: Weights, arrays: Mapping[str, Array]) -> list[Array]:
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
