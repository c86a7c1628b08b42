"""One layer's inputs for both sides of a comparison, where they do not take the same."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.pairing import Block
from ckptconv.verification.reference.forward import Inputs, Outputs
from ckptconv.verification.reference.inputs import probe
from ckptconv.verification.stored_weights import own_weights


class Probes(NamedTuple):
    """What the source's layer and what the target's layers are run on."""

    source: Inputs
    target: Inputs


def probes(graph: Graph, block: Block, seed: int) -> Probes:
    """Return inputs for a layer of ``graph`` that is not None, and the equal ones for its target.

    A projected layer's state h = W_hr s is made from a state s of the folded one, which has no
    other way to begin where the projected one does.
    """
    source = _source(block)
    given = probe(own_weights(graph, source), seed)
    if block.dense is None:
        return Probes(given, given)
    plain = given._replace(h=given.c[:, ::-1].copy())
    return Probes(given._replace(h=_projected_states(source, plain.h)), plain)


def projected(block: Block, outputs: Outputs) -> Outputs:
    """Return the target's outputs as the source's layer has them, by the Dense that follows."""
    if block.dense is None:
        return outputs
    y = outputs.y @ _exact(block.dense).T
    return Outputs(y, _projected_states(_source(block), outputs.h), outputs.c)


def _source(block: Block) -> RecurrentLayer:
    if block.source is None:
        raise TypeError("a block that is not recurrent")
    return block.source


def _projected_states(layer: RecurrentLayer, states: Array) -> Array:
    """Return W_hr s for each level and direction, (L·D, B, H) → (L·D, B, P)."""
    weights = [cell.w_hr for _, cell in sorted(layer.cells.items()) if cell.w_hr is not None]
    return np.stack([s @ _exact(w).T for s, w in zip(states, weights, strict=True)])


def _exact(weight: Tensor) -> Array:
    return weight.numpy().astype(np.float64)
