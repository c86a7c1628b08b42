"""``verify``: two checkpoints are the same model, shown with means that did not convert them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from ckptconv import networks, pipeline
from ckptconv.errors import listed
from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.options import ReadOptions, StrPath
from ckptconv.spelling import option, public
from ckptconv.tensors.writer import Progress
from ckptconv.verification.compare import compare_items, in_threads
from ckptconv.verification.counterparts import ABSENT, Names, items
from ckptconv.verification.difference import narrower
from ckptconv.verification.order import say_order
from ckptconv.verification.pairing import Block, blocks, fold_like, pair
from ckptconv.verification.probes import probes, projected
from ckptconv.verification.reference.forward import Inputs, Outputs
from ckptconv.verification.reference.inputs import (
    SHOWN_NOTHING,
    Limits,
    floors,
    reference,
    rounding_error,
    shows,
)
from ckptconv.verification.results.layers import LayerResult, VerifyReport
from ckptconv.verification.results.run import held
from ckptconv.verification.results.tensors import NONE, TensorDiff, describe, omitted
from ckptconv.verification.settings import recorded_apart
from ckptconv.verification.sides import (
    SidesKeywords,
    lift_target,
    limit,
    on_device,
    on_network,
    read_target,
    sides,
    whole,
    without,
)

if TYPE_CHECKING:
    from typing_extensions import Unpack

_CAUSES = {
    "equal": "every weight has the same value",
    "rounded": "every weight is the source's, rounded exactly",
}
_NO_ROUNDING = (0.0,) * len(Outputs._fields)
_SINGLE = 4
"""Bytes of a float32, the rounding of which every tolerance allows."""


@public(SidesKeywords)
def verify(
    src: StrPath,
    dst: StrPath,
    *,
    run: bool = False,
    network: StrPath | None = None,
    stubs: Iterable[str] = (),
    tolerance: float | None = None,
    seed: int = 0,
    device: str = "CPU",
    drop: Iterable[str] = (),
    target_drop: Iterable[str] = (),
    progress: Progress | None = None,
    **options: Unpack[SidesKeywords],
) -> VerifyReport:
    """Show that two checkpoints compute the same, or where they do not.

    (a) Every tensor of either file has its counterpart of equal value; a lower precision must be
    the exact rounding, and a sum of biases the exact sum. (b) Every recurrent layer is run in the
    NumPy reference (``verification/reference``) on seeded inputs, from each file's own tensors.
    (c) With ``run``, layers of every kind are run in each file's framework, built by the call that
    the report of a conversion prints and filled by the framework's own loader. A recurrent one is
    held against the float64 reference: an error passes only where the weights are equal and the
    framework's arithmetic is known to make it. With ``network``, the whole models are run instead,
    each in its own framework: the source's as its file records it, the target's as it was written,
    and as a MINDIR; every output is compared.

    Args:
        src: the source of a conversion.
        dst: its target.
        run: needs the frameworks of both files installed.
        network: the Python file that a conversion wrote beside ``dst``, which ``run`` runs.
        stubs: layers that the conversion left in it as functions, which are written by now.
        tolerance: allow this absolute difference of outputs instead of what is derived; of a
            network on inputs larger than 1, no less than that.
        seed: of the inputs.
        device: what MindSpore runs on (``CPU``, ``GPU``, ``Ascend``).
        drop: modules and parameters that the conversion left out.
        target_drop: what the target alone has, as ``fill`` gave it.
        progress: called with the number of bytes of ``src`` just compared, then with those of the
            layers computed and run.
        options: those of ``load`` that the conversion of ``src`` had (``rename``, ``gates``, …);
            for ``dst`` with a prefix: ``target_kinds``, ``target_select``, ….

    Returns:
        What was compared and computed, layer by layer; ``ok`` and ``verdict`` sum it up.

    Raises:
        ContainerError: a file that cannot be read.
        DialectError: names that the framework's conventions do not explain.
        CkptconvError: ``run`` and a framework is not installed, has no such device, or refuses
            its file.
        UsageError: ``network`` without ``run``, ``stubs`` without ``network``.
        TypeError: an option that reading does not take.

    Examples:
        >>> verify("model.h5", "model.ckpt", run=True).verdict  # doctest: +SKIP
        'the same model: weights equal; 5 of 5 layers run'
    """
    on_device(device, runs=run, otherwise=option("run", True))
    limit("tolerance", tolerance)
    whole("seed", seed)
    source, target = sides("verify", options)
    reading, left = ReadOptions(**source), on_network(network, stubs, runs=run)
    a, recorded = (
        networks.read(src, reading, left) if network else (pipeline.read(src, reading), None)
    )
    reading.allow.check()
    a, b = without(*lift_target(read_target(dst, target), a, target), drop, target_drop)
    report = VerifyReport(describe(a), describe(b), seed, graphs=(a, b))
    said = (b,) if network else (a, b)  # what is left to do by hand, a written network does
    report.notes += [f"{layer.path}: {note}" for g in said for layer in g for note in layer.notes]
    report.left_out = omitted(a, b)
    folded, folds = fold_like(a, b)
    paired, names = pair(folded, b), Names(a, b)
    for missing, parts in ((report.missing, paired.only_a), (report.added, paired.only_b)):
        missing += [names.of(part, n, t) for part in parts for n, t in part.params.items()]
    found = blocks(paired, folds)
    _compare(report, (a, b), found, names, progress)
    report.notes += say_order(found, report.layers, b)
    for block, result in zip(_counted(found, progress), report.layers, strict=True):
        if all(tensor.difference for tensor in result.tensors):
            report.notes += _compute(result, block, a, b, seed, tolerance)
    if network is not None and recorded is not None:
        from ckptconv.verification.network.prove import run_network

        beside = reading.config is not None
        run_network(
            report, a, b, recorded, network, beside=beside, device=device, tolerance=tolerance
        )
    elif run:
        from ckptconv.verification.frameworks.judge import run_frameworks

        each = _counted(found, progress)
        run_frameworks(report, a, b, each, device=device, tolerance=tolerance)
    return report


def _counted(found: Sequence[Block], progress: Progress | None) -> Iterator[Block]:
    """Yield blocks; what follows the work on each is that its bytes are done."""
    for block in found:
        yield block
        if progress is not None:
            progress(sum(t.nbytes for one, _ in block.parts for t in one.params.values()))


def _compare(
    report: VerifyReport,
    graphs: tuple[Graph, Graph],
    found: Sequence[Block],
    names: Names,
    progress: Progress | None,
) -> None:
    """Add a result for each layer: whether its weights, and what is recorded of it, are equal."""
    met = [
        items(one, other, names, (graphs[0].dialect, graphs[1].dialect))
        for block in found
        for one, other in block.parts
    ]
    report.left_out[""] = dict.fromkeys((name for m in met for name in m.left_out), NONE)
    compared = iter(compare_items([item for m in met for item in m.equal], progress))
    parts = iter(met)
    for block in found:
        tensors = [t for _ in block.parts for t in islice(compared, len(next(parts).equal))]
        report.layers.append(_result(block, tensors))
        if report.layers[-1].ok and (cause := recorded_apart(*graphs, block)):
            report.layers[-1].ok, report.layers[-1].cause = False, cause


def _result(block: Block, tensors: list[TensorDiff]) -> LayerResult:
    state = _weights(tensors)
    targets = dict.fromkeys(other.layer.path for _, other in block.parts)
    result = LayerResult(block.layer.path, ", ".join(targets), block.layer.kind, state, tensors)
    result.ok = state != "differ"
    result.cause = _CAUSES[state] if result.ok else _which(tensors)
    return result


def _weights(tensors: list[TensorDiff]) -> str:
    if not all(tensor.converted for tensor in tensors):
        return "differ"
    rounded = any(tensor.dtypes[0] != tensor.dtypes[1] for tensor in tensors)
    return "rounded" if rounded else "equal"


def _which(tensors: list[TensorDiff]) -> str:
    return f"weights differ: {listed((_said(t) for t in tensors if not t.converted), 3)}"


def _said(t: TensorDiff) -> str:
    if ABSENT in (t.a, t.b):
        return f"{t.a if t.b == ABSENT else t.b} (only one side has it)"
    rounded = t.verdict == "rounded"
    return f"{t.b or t.a} ({'equal only if it is rounded itself' if rounded else t.verdict})"


def _rounding(result: LayerResult, block: Block, given: Inputs, exact: Outputs) -> Limits:
    """Return what the target's weights may be off by where they are rounded, or made from others.

    A sum of biases, or a product that is a projection, has the dtype of what it is made of.
    """
    layer = block.layer if block.dense else block.source
    if not isinstance(layer, RecurrentLayer):
        return _NO_ROUNDING
    dtype = narrower(*(one.cells[0, 0].w_ih.dtype for one in (layer, block.chain[0])))
    made = dtype.itemsize < _SINGLE and any(tensor.how for tensor in result.tensors)
    if result.weights != "rounded" and not made:
        return _NO_ROUNDING
    return rounding_error(layer, dtype, given, exact, partial(projected, block))


def _compute(
    result: LayerResult, block: Block, a: Graph, b: Graph, seed: int, tolerance: float | None
) -> list[str]:
    """Run both sides in float64, each from its own file's tensors; return remarks."""
    if block.source is None:
        return []
    given = probes(a, block, seed)
    jobs = [(a, [block.source], given.source), (b, block.chain, given.target)]
    size = sum(tensor.nbytes for tensor in block.source.params.values())
    exact, target = in_threads(lambda job: reference(*job), jobs, size)
    if not shows(exact.h):
        return [f"{block.layer.path}: not computed: {SHOWN_NOTHING}"]
    least = zip(floors(exact), _rounding(result, block, given.target, exact), strict=True)
    limits = tuple(map(sum, least)) if tolerance is None else (tolerance,) * len(exact)
    found = projected(block, target)
    result.runs += held("reference", "target", "reference of source", found, exact, limits)
    if result.ok and not all(run.ok for run in result.runs):
        result.ok = False
        result.cause = "the weights seem equal, but the files' own tensors do not compute the same"
    return []
