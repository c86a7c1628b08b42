"""A file as its own framework loaded it, whose layers it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from ckptconv import dialects
from ckptconv.graph.axes import fits
from ckptconv.graph.forms import Facts, Forms, stored_by_row
from ckptconv.graph.graph import Graph, Layer, RecurrentLayer
from ckptconv.graph.kinds import KINDS
from ckptconv.options import choice
from ckptconv.tensors.regions import Array
from ckptconv.verification.counterparts import Names
from ckptconv.verification.frameworks.keras import Keras
from ckptconv.verification.frameworks.mindspore import MindSpore
from ckptconv.verification.frameworks.runner import Runner, single
from ckptconv.verification.frameworks.torch import Torch
from ckptconv.verification.reference.forward import Inputs, Outputs
from ckptconv.verification.reference.inputs import (
    Limits,
    known_error,
    reference,
    run_chain,
)

RUNNERS: Mapping[str, type[Runner]] = {
    "torch": Torch,
    "keras": Keras,
    "mindspore": MindSpore,
}


class Side:
    """A file as its framework loaded it.

    Raises:
        CkptconvError: the framework is not installed, or refuses the file.
    """

    def __init__(self, graph: Graph, device: str) -> None:
        choice("device", device)
        self.graph, self.framework = graph, graph.dialect
        self.device = device if self.framework == "mindspore" else "CPU"
        self.forms = _column(graph)
        self._runner = RUNNERS[graph.dialect](self.forms, self.device)
        self.by = self._runner.by
        self._own = self._runner.open(graph)

    def run(self, chain: Sequence[RecurrentLayer], given: Inputs) -> Outputs:
        """Run layers of this file on what the framework loaded."""
        return run_chain(chain, given, lambda layer, x: self._run(layer, self._own(layer), x))

    def call(
        self, layer: Layer, facts: Facts, given: Sequence[Array], rounded: Layer | None = None
    ) -> Array:
        """Run a layer of this file that is not recurrent, built by the table's call.

        Args:
            rounded: to whose dtypes the weights are rounded first.
        """
        held, other = dict(self._own(layer)), rounded.params if rounded else {}
        for name in held.keys() & other.keys():
            if other[name].dtype.kind not in "iub":
                held[name] = held[name].astype(other[name].dtype).astype(np.float32)
        return self._runner.call(layer, facts, held, given)

    def control(self, chain: Sequence[RecurrentLayer], given: Inputs) -> Outputs:
        """Run layers in this framework on the values that ckptconv read."""
        return run_chain(chain, given, lambda layer, x: self._run(layer, _values(layer), x))

    def tolerance(self, chain: Sequence[RecurrentLayer], given: Inputs, exact: Outputs) -> Limits:
        """Return what this framework's arithmetic may be off by."""
        emulate = partial(reference, self.graph, chain, given)
        return known_error(exact, self.framework, self.device, emulate)

    def _run(self, layer: RecurrentLayer, arrays: Mapping[str, Array], given: Inputs) -> Outputs:
        return self._runner.run(layer, arrays, given)


def _column(graph: Graph) -> Forms:
    """Return the column whose names and axes a file has: MindSpore has two, ``nn`` and ``mint``."""
    own = dialects.dialect(graph.dialect).forms
    if graph.dialect != "mindspore":
        return own
    names = Names(graph)
    plain = [layer for layer in graph if layer.kind in KINDS and stored_by_row(layer.kind)]
    columns = (own, dialects.dialect("mint").forms)
    return next((c for c in columns if all(_fits(layer, names, c) for layer in plain)), own)


def _fits(layer: Layer, names: Names, forms: Forms) -> bool:
    stored = filter(None, map(names.stored, layer.params.values()))
    shapes = {name.removeprefix(f"{layer.path}."): shape for name, shape in stored}
    return fits(layer.kind, shapes, forms, layer.attributes)


def _values(layer: RecurrentLayer) -> dict[str, Array]:
    return {name: single(tensor.numpy()) for name, tensor in layer.params.items()}
