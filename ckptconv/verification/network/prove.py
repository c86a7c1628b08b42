"""A written network with the target's weights, held against the source's own model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ckptconv import dialects
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph
from ckptconv.graph.network import Network
from ckptconv.options import StrPath, choice
from ckptconv.tensors.regions import Array
from ckptconv.verification.frameworks.loaded import RUNNERS
from ckptconv.verification.frameworks.runner import Runner
from ckptconv.verification.frameworks.written import Program, imported, read
from ckptconv.verification.network.answers import Answers, remarks, unshown
from ckptconv.verification.network.source import KNOWN, Allowed, Source, quietly
from ckptconv.verification.results.layers import VerifyReport
from ckptconv.verification.results.network import NetworkResult, OutputRun
from ckptconv.verification.results.run import Run, outputs_differ, worst


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


def compare(
    runner: Runner, program: Program, weights: str, answers: Answers, tolerances: Allowed
) -> NetworkResult:
    """Run a written network in every way there is, and hold each output against the source's.

    What the network raises is the result's cause.
    """
    digest = hashlib.sha256(program.text).hexdigest()
    said = [(str(case), case.to_dict()) for case in answers.cases]
    result = NetworkResult(program.path, digest, said)
    result.unshown = unshown(answers)
    try:
        with (
            quietly(),
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
        run = worst(one.run for one in failed)
        one = next(one for one in failed if one.run is run)
        result.cause = (
            f"output {one.output} {one.name} is off by {run.difference.max_abs:.2g} in {run.by},"
            f" allowed {run.tolerance:.2g}, on {result.cases[one.case][0]}"
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
        if _kind(y) != _kind(exact):
            problem = f"output {i} {answers.names[i]} is of other numbers in {by}"
            raise CkptconvError(problem, expected=exact.dtype, found=y.dtype)
        difference = outputs_differ(y, exact)
        run = Run(by, "target", f"source in {answers.by}", difference, tolerance)
        runs.append(OutputRun(i, answers.names[i], number, run))
    return runs


def _kind(array: Array) -> str:
    """Return what numbers these are: frameworks choose how wide; vectors hold bools as uint8."""
    return array.dtype.kind.replace("u", "b")


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
    report.notes += (*network.notes, *remarks(answers))
    limits = source.allowed(answers, runner.module)
    if tolerance is not None:
        limits = [
            [max(tolerance, limit if case.magnitude > 1 else 0) for limit in row]
            for case, row in zip(answers.cases, limits, strict=True)
        ]
    report.network = compare(runner, program, b.origin.path, answers, limits)
