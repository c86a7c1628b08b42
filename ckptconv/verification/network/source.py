"""A source's whole model in its own framework: what it makes of seeded inputs, and how surely."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout

import numpy as np

from ckptconv import dialects
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph
from ckptconv.graph.network import Network
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.keras import TfKeras
from ckptconv.verification.frameworks.keras_model import before_3
from ckptconv.verification.frameworks.loaded import RUNNERS
from ckptconv.verification.frameworks.runner import Model, Runner
from ckptconv.verification.network.answers import Answers
from ckptconv.verification.network.inputs import cases, magnified
from ckptconv.verification.reference.inputs import FLOOR, distance, scale

KNOWN: Mapping[str, tuple[float, float]] = {"torch": (FLOOR, FLOOR), "mindspore": (5e-5, 2e-4)}
"""What a framework may be off by over a whole network, per unit of ``scale``, on inputs up to 1 and
on larger ones; MindSpore's is its own tanh on a CPU, which is worst near 5."""
MARGIN = 4
_FURTHEST = max(limit for limits in KNOWN.values() for limit in limits)
_TRIES = ((1, 1), (1, 3), (4, 1), (4, 3), (16, 1), (16, 3))
"""How many times as long free lengths are made until the source's windows have room; and its
smallest batch, which may be bound to more than 1."""
Allowed = Sequence[Sequence[float]]
"""For each set of inputs, what each output may be off by."""


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what is said by the way off the standard output, which may hold a document."""
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Source:
    """A source's whole model in its own framework.

    Args:
        beside: the configuration of the model does not stand in the file.

    Raises:
        CkptconvError: the framework is not installed, or refuses the file.
    """

    def __init__(self, graph: Graph, network: Network, *, beside: bool) -> None:
        row = TfKeras if before_3(graph.origin.facts) else RUNNERS[graph.dialect]
        self._runner: Runner = row(dialects.dialect(graph.dialect).forms)
        self._graph, self._network, self.by = graph, network, self._runner.by
        with quietly():
            self.model: Model = self._runner.model(graph, network, beside=beside)

    def run(self, given: Sequence[Array]) -> list[Array]:
        """Return every output.

        Raises:
            CkptconvError: the framework cannot compute them, or other ones than are recorded.
        """
        path = self._graph.origin.path
        with quietly(), self._runner.explained("cannot run it", path):
            found = self.model([array.copy() for array in given])
        count = len(self._network.outputs) - self._network.states[1]
        if len(found) != count:
            problem = "the model does not give what its network records"
            raise CkptconvError(problem, file=path, expected=f"{count} outputs", found=len(found))
        return found

    def answers(self, seed: int) -> Answers:
        """Return seeded inputs and what the model makes of them."""
        batch = self.model.batch
        for stretch, least in _TRIES:
            made = cases(
                self._network, self._graph, seed, batch=batch, least=least, stretch=stretch
            )
            fixed = all(case.length is None for case in made)
            final = (stretch, least) == _TRIES[-1] or (fixed and least > 1)
            try:
                found = [self.run(case.arrays) for case in made]
            except CkptconvError:
                if final:
                    raise
                continue
            if final or all(array.size for row in found for array in row):
                break
        for case in magnified(self._network, made[0]):
            outputs = self.run(case.arrays)
            further = self.run([_moved(array, _FURTHEST) for array in case.arrays])
            if _hold(outputs, found[0]) and _hold(further, found[0]):
                made, found = [*made, case], [*found, outputs]
        names = list(self._network.outputs[: len(found[0])])
        if len(self.model.names) == len(names):
            names = list(self.model.names)
        return Answers(made, found, names, self._network.states[1], self.by)

    def allowed(self, answers: Answers, framework: str) -> list[list[float]]:
        """Return tolerances of a framework for each set of inputs and each output.

        One grows with its output's largest value; there is none where that is no float. Of inputs
        larger than 1, rounding alone may move an output further: it is measured how far it goes
        when they are off by as much as that framework is; and a gate that is all but closed leaves
        of an output no more than what gates are off by.
        """
        limits, usual = [], list(map(_scale, answers.outputs[0]))
        for case, row in zip(answers.cases, answers.outputs, strict=True):
            large = case.magnitude > 1
            known = KNOWN[framework][large]
            scales = (max(_scale(y), s * large) for y, s in zip(row, usual, strict=True))
            limits.append([known * s for s in scales])
            if large:
                moved = self.run([_moved(array, known) for array in case.arrays])
                gaps = (MARGIN * distance(a, b) for a, b in zip(moved, row, strict=True))
                limits[-1] = list(map(operator.add, limits[-1], gaps))
        return limits


def _scale(output: Array) -> float:
    return scale(output) if output.dtype.kind == "f" else 0.0


def _hold(outputs: Sequence[Array], others: Sequence[Array]) -> bool:
    """Tell whether outputs are numbers where others are: no intermediate value overflowed."""
    pairs = zip(outputs, others, strict=True)
    return all(np.isfinite(a).all() or not np.isfinite(b).all() for a, b in pairs)


def _moved(array: Array, share: float) -> Array:
    """Return floats that are off by a share of each, up or down."""
    if array.dtype.kind != "f":
        return array
    signs = np.random.default_rng(0).choice([-1.0, 1.0], array.shape)
    return np.asarray(array * (1 + share * signs), array.dtype)
