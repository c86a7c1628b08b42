"""``replay``: a model in its own framework, on vectors that were made elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptconv import api
from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import UsageError, VerificationError, listed
from ckptconv.graph.graph import CELL_PARAMS, Framework, Graph, RecurrentLayer
from ckptconv.options import ReadKeywords, ReadOptions, StrPath
from ckptconv.spelling import option, public
from ckptconv.tensors.dtypes import named
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import FilledTensor, Tensor
from ckptconv.verification import npz
from ckptconv.verification.fingerprint import fingerprint, matrices
from ckptconv.verification.frameworks.loaded import Side
from ckptconv.verification.golden import FIELDS
from ckptconv.verification.pairing import Block, blocks, pair
from ckptconv.verification.reference.forward import GATES, Inputs, Outputs, weights_of
from ckptconv.verification.reference.inputs import floors, reference
from ckptconv.verification.results.layers import LayerResult, VerifyReport
from ckptconv.verification.results.run import held, worst
from ckptconv.verification.results.tensors import describe
from ckptconv.verification.sides import on_device

if TYPE_CHECKING:
    from typing_extensions import Unpack


_MAX_LEVELS = 1000
_MAX_SIZE = 1 << 24


@public(ReadKeywords)
def replay(
    dst: StrPath,
    vectors: StrPath,
    *,
    network: StrPath | None = None,
    device: str = "CPU",
    reference_only: bool = False,
    **options: Unpack[ReadKeywords],
) -> VerifyReport:
    """Run a model in its own framework on a vectors file and compare what comes out.

    Only the framework of ``dst`` is needed, on the machine where it will run.

    Args:
        dst: the checkpoint to run.
        vectors: what ``golden`` wrote.
        network: the Python file that a conversion wrote beside ``dst``, for vectors of a whole
            network. It is run.
        device: ``CPU``, ``GPU`` or ``Ascend``.
        reference_only: run the NumPy reference instead, which needs no framework.
        options: those of ``load``, for ``dst``.

    Returns:
        What was computed, layer by layer.

    Raises:
        VerificationError: the vectors were made for another model.
        CkptconvError: a file that cannot be read, or a framework or a device that is not here.

    Examples:
        >>> replay("model.ckpt", "vectors.npz", device="Ascend").ok  # doctest: +SKIP
    """
    no_reference = f"no {option('reference_only')}"
    on_device(device, runs=not reference_only, otherwise=no_reference)
    if network is not None:
        if reference_only:
            raise UsageError(
                f"{option('network')} is run in its framework",
                expected=no_reference,
            )
        from ckptconv.verification.network.vectors import play

        return play(dst, vectors, network, ReadOptions(**options), device=device)
    meta, arrays = npz.read_document(vectors, npz.LAYERS, {"layers": list})
    if not meta["layers"]:
        raise npz.malformed(vectors, "meta: layers", "layers", "none")
    graph = api.load(dst, **options)
    made_for = _graph((_layer(entry, vectors) for entry in meta["layers"]), "torch")
    found = _counterparts(made_for, graph, meta, vectors)
    side = None if reference_only else Side(graph, device)
    report = VerifyReport(meta["source"], describe(graph), meta["seed"])
    report.frameworks = [side.by] if side else []
    for index, (entry, block) in enumerate(zip(meta["layers"], found, strict=True)):
        own = _vectors(arrays, index, made_for.recurrent[index], vectors)
        on = f"{side.framework} {side.device}" if side else ""
        allowed = npz.need(entry["tolerances"], on, vectors) if side else floors(own[1])
        report.layers.append(_play(entry, block, graph, side, own, allowed))
    return report


def _play(
    entry: Mapping[str, Any],
    block: Block,
    graph: Graph,
    side: Side | None,
    vectors: tuple[Inputs, Outputs],
    limits: Sequence[float],
) -> LayerResult:
    given, exact = vectors
    if side is None:
        outputs, by = reference(graph, block.chain, given), "reference"
    else:
        outputs, by = side.run(block.chain, given), f"{side.by} on {side.device}"
    dtype = block.chain[0].cells[0, 0].w_hh.dtype.name
    if dtype != entry["dtype"]:
        rounding = entry["rounding"].get(dtype, [0.0] * len(exact))
        limits = [sum(pair) for pair in zip(limits, rounding, strict=True)]
    target = ", ".join(dict.fromkeys(layer.path for layer in block.chain))
    runs = held(by, "target", "vectors", outputs, exact, tuple(limits))
    run = worst(runs)
    cause = (
        f"{run.state or 'output'} off by {run.difference.max_abs:.2g}, allowed {run.tolerance:.2g}"
    )
    return LayerResult(
        entry["path"], target, entry["kind"], "not compared", [], runs, run.ok, cause
    )


_ENTRY: Mapping[str, type] = {
    **dict.fromkeys(("path", "kind", "nonlinearity", "dtype"), str),
    **dict.fromkeys(("layers", "directions", "hidden_size", "output_size", "input_size"), int),
    **dict.fromkeys(("tolerances", "rounding"), dict),
}


def _layer(entry: Any, path: StrPath) -> RecurrentLayer:
    """Return a layer of the shapes that an entry of ``meta`` tells, without values."""
    for key, kind in _ENTRY.items():
        value = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(value, kind) or isinstance(value, bool):
            raise npz.malformed(path, f"meta: layers: {key}", kind.__name__, value)
        if isinstance(value, int) and not 0 < value <= _MAX_SIZE:
            raise npz.malformed(path, f"meta: layers: {key}", f"1 to {_MAX_SIZE}", value)
    for name, value in {**entry["tolerances"], **entry["rounding"]}.items():
        if not npz.are_limits(value, len(Outputs._fields)):
            raise npz.malformed(path, f"meta: layers: {name}", "numbers", value)
    if entry["kind"] not in GATES or entry["directions"] > 2 or entry["layers"] > _MAX_LEVELS:
        raise npz.malformed(path, "meta: layers", "LSTM, GRU or RNN", entry["kind"])
    params: dict[str, Tensor] = {}
    out, rows = entry["output_size"], len(GATES[entry["kind"]]) * entry["hidden_size"]
    for k in range(entry["layers"]):
        width = entry["input_size"] if k == 0 else entry["directions"] * out
        for suffix in ("", "_reverse")[: entry["directions"]]:
            for name, shape in (("w_ih", (rows, width)), ("w_hh", (rows, out))):
                tensor = FilledTensor(shape, named("float32"))
                params[f"{CELL_PARAMS[name]}_l{k}{suffix}"] = tensor
    said = {"nonlinearity": entry["nonlinearity"]}
    return RecurrentLayer(entry["path"], entry["kind"], params, said)


def _graph(layers: Iterable[RecurrentLayer], dialect: Framework) -> Graph:
    return Graph(tuple(layers), dialect, Checkpoint("memory", {}))


def _counterparts(
    made_for: Graph, graph: Graph, meta: Mapping[str, Any], path: StrPath
) -> Sequence[Block]:
    """Pair the layers of the vectors with the model's.

    Raises:
        VerificationError: other layers, or other weights.
    """
    recurrent = _graph(graph.recurrent, graph.dialect)
    paired = pair(made_for, recurrent)
    found = blocks(paired)
    if paired.only_a or paired.only_b or not all(block.chain for block in found):
        raise VerificationError(
            "made for another model",
            file=path,
            expected=_shapes(recurrent),
            found=_shapes(made_for),
        )
    dtype = recurrent.recurrent[0].cells[0, 0].w_hh.dtype if recurrent.layers else named("float32")
    own = fingerprint(matrices(recurrent.recurrent))
    npz.check_model(path, meta, own, dtype, graph.origin.path)
    return found


def _vectors(
    arrays: Mapping[str, Array], index: int, layer: RecurrentLayer, path: StrPath
) -> tuple[Inputs, Outputs]:
    """Return the arrays of one layer, their shapes checked."""
    layers, directions, hidden, out = weights_of(layer).shape
    x = arrays.get(f"{index}.x", np.zeros(0))
    batch, steps = x.shape[:2] if x.ndim == 3 else (0, 0)
    lstm = layer.kind == "LSTM"
    h, c = (layers * directions, batch, out), (layers * directions, batch, hidden) if lstm else (0,)
    width = weights_of(layer).input_size
    y = (batch, steps, directions * out)
    shapes = dict(zip(FIELDS, ((batch, steps, width), (batch,), h, c, y, h, c), strict=True))
    for name, shape in shapes.items():
        found = arrays.get(f"{index}.{name}")
        if found is None or found.shape != shape or not batch * steps:
            raise npz.malformed(
                path, f"{index}.{name}", shape, None if found is None else found.shape
            )
    x, lengths, *rest = (arrays[f"{index}.{name}"] for name in FIELDS)
    if lengths.dtype.kind not in "iu" or not ((lengths >= 1) & (lengths <= steps)).all():
        raise npz.malformed(path, f"{index}.lengths", f"1 to {steps}", lengths[:4].tolist())
    return Inputs(x, lengths.astype(np.int64), *rest[:2]), Outputs(*rest[2:])


def _shapes(graph: Graph) -> str:
    found = []
    for layer in graph.recurrent:
        weights = weights_of(layer)
        found.append(f"{layer.path}: {weights.kind}{(weights.input_size, *weights.shape[2::-1])}")
    return listed(found, 5) or "no recurrent layer"
