"""A written network with the target's weights, held against the source's own model."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import NamedTuple

import numpy as np

from ckptconv import dialects
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph
from ckptconv.graph.network import Network
from ckptconv.options import StrPath, choice
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.judge import RUNNERS
from ckptconv.verification.frameworks.keras import TfKeras
from ckptconv.verification.frameworks.keras_model import before_3
from ckptconv.verification.frameworks.runner import Model, Runner
from ckptconv.verification.frameworks.written import Program, imported, read
from ckptconv.verification.network.inputs import Case, cases
from ckptconv.verification.reference.inputs import FLOOR, scale
from ckptconv.verification.results.layers import VerifyReport
from ckptconv.verification.results.network import NetworkResult, OutputRun
from ckptconv.verification.results.run import Run, outputs_differ

KNOWN: Mapping[str, float] = {"torch": FLOOR, "mindspore": 5e-5}
"""What a framework may be off by over a whole network, per unit of ``scale``; MindSpore's is its
own tanh on a CPU."""
_STRETCHES = (1, 4, 16)
"""How many times as long free lengths are made until the source's windows have room."""
_NOTHING = "which shows nothing"
Allowed = Sequence[Sequence[float]]
"""For each set of inputs, what each output may be off by."""


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what is said by the way off the standard output, which may hold a document."""
    with redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Answers(NamedTuple):
    """What the source's model gives: for each set of inputs, every output by its name."""

    cases: list[Case]
    outputs: list[list[Array]]
    names: list[str]
    states: int
    by: str


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
        with _quietly():
            self.model: Model = self._runner.model(graph, network, beside=beside)

    def run(self, given: Sequence[Array]) -> list[Array]:
        """Return every output.

        Raises:
            CkptconvError: the framework cannot compute them, or other ones than are recorded.
        """
        path = self._graph.origin.path
        with _quietly(), self._runner.explained("cannot run it", path):
            found = self.model([array.copy() for array in given])
        count = len(self._network.outputs) - self._network.states[1]
        if len(found) != count:
            problem = "the model does not give what its network records"
            raise CkptconvError(problem, file=path, expected=f"{count} outputs", found=len(found))
        return found

    def answers(self, seed: int) -> Answers:
        """Return seeded inputs and what the model makes of them."""
        for stretch in _STRETCHES:
            made = cases(self._network, self._graph, seed, batch=self.model.batch, stretch=stretch)
            final = stretch == _STRETCHES[-1] or all(case.length is None for case in made)
            try:
                found = [self.run(case.arrays) for case in made]
            except CkptconvError:
                if final:
                    raise
                continue
            if final or all(array.size for row in found for array in row):
                break
        names = list(self._network.outputs[: len(found[0])])
        if len(self.model.names) == len(names):
            names = list(self.model.names)
        return Answers(made, found, names, self._network.states[1], self.by)


def target_runner(framework: str, device: str) -> Runner:
    """Return what runs a written network.

    Raises:
        CkptconvError: networks are not written for this framework, or it is not installed, or has
            no such device here.
    """
    if framework not in KNOWN:
        expected = " or ".join(KNOWN)
        raise CkptconvError("no written network is for it", expected=expected, found=framework)
    choice("device", device)
    return RUNNERS[framework](dialects.dialect(framework).forms, device)


def allowed(answers: Answers, known: float) -> Allowed:
    """Return tolerances: an output's grows with its largest value; none where it is no float."""
    return [
        [known * scale([y]) if y.dtype.kind == "f" else 0.0 for y in row] for row in answers.outputs
    ]


def compare(
    runner: Runner, program: Program, weights: str, answers: Answers, tolerances: Allowed
) -> NetworkResult:
    """Run a written network in every way there is, and hold each output against the source's.

    What the network raises is the result's cause.
    """
    digest = hashlib.sha256(program.text).hexdigest()
    said = [(str(case), case.to_dict()) for case in answers.cases]
    result = NetworkResult(program.path, digest, said)
    result.unshown = sum(_shown(values).endswith(_NOTHING) for values in _values(answers))
    try:
        with (
            _quietly(),
            runner.explained(f"cannot run it on {runner.device}"),
            imported(program) as module,
        ):
            for by, call in runner.written(module, weights):
                for number, case in enumerate(answers.cases):
                    found = call([array.copy() for array in case.arrays])
                    result.runs += _runs(by, number, found, answers, tolerances[number])
    except CkptconvError as error:
        result.cause = str(error)
        return result
    if failed := [found for found in result.runs if not found.run.ok]:
        worst = max(
            failed, key=lambda one: one.run.difference.max_abs / (one.run.tolerance or 1e-9)
        )
        result.cause = (
            f"output {worst.output} {worst.name} is off by {worst.run.difference.max_abs:.2g} in"
            f" {worst.run.by}, allowed {worst.run.tolerance:.2g}"
        )
    return result


def _runs(
    by: str, number: int, found: list[Array], answers: Answers, tolerances: Sequence[float]
) -> list[OutputRun]:
    wanted = answers.outputs[number]
    if len(found) != len(wanted) + answers.states:
        problem = f"gives {len(found)} outputs in {by}"
        raise CkptconvError(problem, expected=len(wanted) + answers.states)
    runs = []
    for i, (y, exact, tolerance) in enumerate(zip(found, wanted, tolerances, strict=False)):
        if y.shape != exact.shape:
            problem = f"output {i} {answers.names[i]} has another shape in {by}"
            raise CkptconvError(problem, expected=exact.shape, found=y.shape)
        difference = outputs_differ([y], [exact])
        run = Run(by, "target", f"source in {answers.by}", difference, tolerance)
        runs.append(OutputRun(i, answers.names[i], number, run))
    return runs


def run_network(
    report: VerifyReport,
    a: Graph,
    b: Graph,
    network: Network,
    file: StrPath,
    *,
    beside: bool,
    device: str,
    tolerance: float | None,
) -> None:
    """Add to a report what a written network computes with the weights of ``b``."""
    program, runner = read(file), target_runner(b.dialect, device)
    source = Source(a, network, beside=beside)
    answers = source.answers(report.seed)
    report.frameworks = list(dict.fromkeys((source.by, runner.by)))
    report.notes += remarks(answers)
    limits = allowed(answers, KNOWN[runner.module])
    if tolerance is not None:
        limits = [[tolerance] * len(row) for row in limits]
    report.network = compare(runner, program, b.origin.path, answers, limits)


def remarks(answers: Answers) -> list[str]:
    """Return what these outputs cannot show of a network."""
    said = ((i, answers.names[i], _shown(values)) for i, values in enumerate(_values(answers)))
    notes = [f"output {i} {name} {reach}" for i, name, reach in said if reach]
    if answers.states:
        notes.append(
            "first states are zeros; the last ones, which the source keeps, are not compared"
        )
    return notes


def _values(answers: Answers) -> Iterator[Array]:
    """Yield all values of each output, of every set of inputs."""
    for row in zip(*answers.outputs, strict=True):
        yield np.concatenate([array.ravel() for array in row]).astype(np.float64)


def _shown(values: Array) -> str:
    """Return why an output shows little or nothing, whatever is computed; nothing if it does."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"has no finite number, {_NOTHING}"
    if finite.size < values.size:
        return "is not finite in places, which shows little"
    return f"is {finite[0]:g} whatever goes in, {_NOTHING}" if np.ptp(finite) == 0 else ""
