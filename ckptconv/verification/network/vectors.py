"""A whole network's inputs and outputs, made where its source runs, replayed where it will run.

A vectors file holds, for case i, ``i.x.j`` (inputs) and ``i.y.k`` (outputs); ``meta`` is JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ckptconv import dialects, formats, networks
from ckptconv.errors import locating
from ckptconv.graph.graph import Graph
from ckptconv.graph.network import Network
from ckptconv.io.atomic import atomic_path, check_target
from ckptconv.options import DEVICES, ReadOptions, StrPath
from ckptconv.tensors.dtypes import named
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification import npz
from ckptconv.verification.fingerprint import fingerprint
from ckptconv.verification.frameworks.written import read
from ckptconv.verification.network.answers import Answers, remarks
from ckptconv.verification.network.inputs import Case
from ckptconv.verification.network.prove import compare, target_runner
from ckptconv.verification.network.source import KNOWN, MARGIN, Source
from ckptconv.verification.reference.arithmetic import half
from ckptconv.verification.reference.inputs import distance
from ckptconv.verification.results.layers import VerifyReport
from ckptconv.verification.results.tensors import describe

_MAX = 10_000


def write(
    src: StrPath,
    out: StrPath,
    options: ReadOptions,
    stubs: tuple[str, ...],
    *,
    seed: int,
    force: bool,
) -> dict[str, Any]:
    """Write vectors of a whole network; see ``golden``.

    What an Ascend may be off by is taken from the source's own model with weights and inputs
    rounded to float16: four times what that changes, beside what MindSpore is known to be off by.
    """
    graph, network = networks.read(src, options, stubs)
    options.allow.check()
    check_target(out, graph.origin.files, force=force)
    source = Source(graph, network, beside=options.config is not None)
    answers = source.answers(seed)
    meta = _describe(graph, network, answers, _tolerances(source, answers), seed)
    arrays: dict[str, Array] = {}
    for i, (case, outputs) in enumerate(zip(answers.cases, answers.outputs, strict=True)):
        for letter, row in (("x", case.arrays), ("y", outputs)):
            plain = (a.astype(np.uint8) if a.dtype.kind == "b" else a for a in row)
            arrays |= {f"{i}.{letter}.{k}": array for k, array in enumerate(plain)}
    with atomic_path(out, force=force) as temporary:
        npz.write(temporary, {"meta": npz.encode(meta), **arrays})
    return meta


def _describe(
    graph: Graph, network: Network, answers: Answers, limits: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    return {
        "schema": npz.NETWORK,
        "source": describe(graph),
        "seed": seed,
        "by": answers.by,
        "inputs": [value.dtype for value in network.inputs],
        "outputs": answers.names,
        "states": answers.states,
        "cases": [
            {**case.to_dict(), "tolerances": limit}
            for case, limit in zip(answers.cases, limits, strict=True)
        ],
        "fingerprint": fingerprint(_matrices(t for one in graph for t in one.params.values())),
    }


def _tolerances(source: Source, answers: Answers) -> list[dict[str, Any]]:
    """Return for each case: framework and device → what each output may be off by."""
    known = {name: source.allowed(answers, name) for name in KNOWN}
    source.model.halve()
    found = []
    for i, (case, exact) in enumerate(zip(answers.cases, answers.outputs, strict=True)):
        rounded = source.run([half(array) for array in case.arrays])
        apart = [MARGIN * distance(a, b) for a, b in zip(rounded, exact, strict=True)]
        limits = {"torch CPU": list(known["torch"][i])}
        limits |= {f"mindspore {device}": list(known["mindspore"][i]) for device in DEVICES}
        ascend = zip(limits["mindspore Ascend"], apart, strict=True)
        limits["mindspore Ascend"] = [limit + gap for limit, gap in ascend]
        found.append({name: row for name, row in limits.items() if np.isfinite(row).all()})
    return found


def _matrices(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors that a conversion keeps, whatever their axes."""
    return [tensor for tensor in tensors if tensor.ndim > 1]


def play(
    dst: StrPath, vectors: StrPath, network: StrPath, options: ReadOptions, *, device: str
) -> VerifyReport:
    """Run a written network on vectors; see ``replay``.

    Raises:
        VerificationError: the vectors were made for another model.
    """
    program = read(network)
    meta, answers, limits = _read(vectors)
    checkpoint = formats.read(dst, select=options.select)
    with locating(checkpoint.path):
        framework = dialects.detect(checkpoint, options.source)
    own = fingerprint(_matrices(checkpoint.tensors.values()))
    npz.check_model(vectors, meta, own, named("float32"), checkpoint.path)
    runner = target_runner(framework, device)
    target = {"path": checkpoint.path, "container": checkpoint.format, "framework": framework}
    report = VerifyReport(meta["source"], target, meta["seed"], frameworks=[runner.by])
    report.notes += remarks(answers)
    key = f"{runner.module} {device if runner.module == 'mindspore' else 'CPU'}"
    told = [i for i, limit in enumerate(limits) if key in limit or answers.cases[i].magnitude == 1]
    answers = answers._replace(
        cases=[answers.cases[i] for i in told], outputs=[answers.outputs[i] for i in told]
    )
    tolerances = [npz.need(limits[i], key, vectors) for i in told]
    report.network = compare(runner, program, checkpoint.path, answers, tolerances)
    return report


_META: Mapping[str, type] = {
    "by": str,
    "inputs": list,
    "outputs": list,
    "states": int,
    "cases": list,
}


def _read(path: StrPath) -> tuple[dict[str, Any], Answers, list[Mapping[str, list[float]]]]:
    """Return the document, the answers and the tolerances, everything checked."""
    meta, arrays = npz.read_document(path, npz.NETWORK, _META)
    words = [*meta["inputs"], *meta["outputs"]]
    sizes = (len(words), len(meta["cases"]), meta["states"])
    if not all(isinstance(word, str) for word in words) or not all(0 <= n < _MAX for n in sizes):
        raise npz.malformed(path, "meta", "names of inputs and outputs", str(words)[:80])
    if not meta["cases"] or not meta["outputs"]:
        raise npz.malformed(path, "meta", "cases and outputs", "none")
    cases, outputs, limits = [], [], []
    for i, said in enumerate(meta["cases"]):
        size, limit = _case(said, len(meta["outputs"]), path)
        given = [_array(arrays, f"{i}.x.{k}", path) for k in range(len(meta["inputs"]))]
        typed = [_typed(a, dtype, path) for a, dtype in zip(given, meta["inputs"], strict=True)]
        cases.append(Case(tuple(typed), *size))
        outputs.append([_array(arrays, f"{i}.y.{k}", path) for k in range(len(meta["outputs"]))])
        limits.append(limit)
    return meta, Answers(cases, outputs, meta["outputs"], meta["states"], meta["by"]), limits


def _case(said: Any, outputs: int, path: StrPath) -> tuple[Any, Mapping[str, list[float]]]:
    sizes = [said.get(key) if isinstance(said, dict) else "" for key in ("batch", "length")]
    if not all(n is None or (type(n) is int and 0 < n < 1 << 31) for n in sizes):
        raise npz.malformed(path, "meta: cases", "sizes", str(sizes)[:80])
    limits = said.get("tolerances")
    for name, row in limits.items() if isinstance(limits, dict) else [("", None)]:
        if not npz.are_limits(row, outputs):
            raise npz.malformed(path, f"meta: cases: {name}", f"{outputs} numbers", str(row)[:80])
    magnitude = said.get("magnitude", 1.0)
    if type(magnitude) is not float or not 0 < magnitude < np.inf:
        raise npz.malformed(path, "meta: cases: magnitude", "a number", str(magnitude)[:80])
    return (*sizes, said.get("masked") is True, magnitude), limits


def _array(arrays: Mapping[str, Array], name: str, path: StrPath) -> Array:
    if name not in arrays:
        raise npz.malformed(path, name, "an array", None)
    return arrays[name]


def _typed(array: Array, dtype: str, path: StrPath) -> Array:
    kinds = {"bool": "u", "int32": "i", "int64": "i"}
    if dtype not in {*kinds, "float16", "float32", "float64"} or array.dtype.kind != kinds.get(
        dtype, "f"
    ):
        raise npz.malformed(path, "meta: inputs", dtype, str(array.dtype))
    return array.astype(dtype)
