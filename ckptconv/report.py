"""What became of every tensor: the account of a conversion.

The account is read off the tensors themselves: each target tensor knows what it is computed from,
so nothing has to be written down along the way, and nothing can be forgotten.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from ckptconv import dialects
from ckptconv.codegen.constructor import constructor, unknown
from ckptconv.codegen.support import standing_notes
from ckptconv.dialects.state_dict import Lowered
from ckptconv.errors import DialectError
from ckptconv.graph.graph import Graph, Layer
from ckptconv.tensors.ops import Cast
from ckptconv.tensors.tensor import DType, Tensor, trace
from ckptconv.ties import tie_notes

SCHEMA = "ckptconv-report-1"


@dataclass
class TensorEntry:
    """One target tensor and where it came from; ``sources`` is empty for what was added."""

    target: str
    sources: list[str]
    operations: list[str]
    dtype: str
    shape: list[int]
    nbytes: int


@dataclass
class LayerEntry:
    """One layer: what it is, how that is known, and its tensors.

    Attributes:
        constructor: the call that builds it on the target; ``""`` where the target has none.
        unknown: hyper-parameters that the source does not record, each with what is assumed.
    """

    path: str
    kind: str
    evidence: str
    attributes: dict[str, Any]
    tensors: list[TensorEntry]
    candidates: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    constructor: str = ""
    unknown: list[str] = field(default_factory=list)


@dataclass
class Report:
    """The account of one conversion.

    Attributes:
        source, target: path, container and framework of each side.
        layers: in model order.
        omitted: source name → the rule by which it was left out.
        notes: what the user should know.
        restore: pairs of biases that became a sum (``ckptconv.passes.restore``).
    """

    source: dict[str, str]
    target: dict[str, str]
    layers: list[LayerEntry]
    omitted: dict[str, str]
    notes: list[str]
    written: bool = False
    restore: list[dict[str, str]] = field(default_factory=list)
    schema: str = SCHEMA

    @property
    def tensors(self) -> list[TensorEntry]:
        return [entry for layer in self.layers for entry in layer.tensors]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like values; ``report.schema.json`` describes them."""
        return asdict(self)


def account(graph: Graph, lowered: Lowered, target: dict[str, str]) -> Report:
    """Say for each source and each target tensor what became of it.

    Raises:
        DialectError: a source tensor was neither used nor left out by a rule.
    """
    names: dict[int, list[str]] = {}
    for name, tensor in graph.tensors.items():
        names.setdefault(id(tensor), []).append(name)
    frameworks = (graph.dialect, target["framework"])
    layers = [
        _layer_entry(layer, lowered, targets, names, frameworks)
        for layer, targets in lowered.layers
    ]
    used = {source for layer in layers for entry in layer.tensors for source in entry.sources}
    omitted = dict(graph.omitted)
    for tensor, rule in lowered.dropped:
        for origin in trace(tensor, names).origins:
            omitted.update(dict.fromkeys(names.get(id(origin), []), rule))
    missing = [name for name in graph.tensors if name not in used and name not in omitted]
    if missing:
        raise DialectError("not accounted for", file=graph.path, tensor=", ".join(missing[:5]))
    omitted = {name: rule for name, rule in omitted.items() if name not in used}
    source = {"path": graph.path, "container": graph.container, "framework": graph.dialect}
    kept = {name: tensor for name, tensor in graph.tensors.items() if name not in omitted}
    notes = tie_notes(kept, lowered.tensors, target["container"])
    return Report(source, target, layers, omitted, [*graph.notes, *lowered.notes, *notes])


def add_cast_notes(report: Report, lowered: Lowered) -> None:
    """Name the tensors that lost values in a cast; known once they were written."""
    for name, tensor in lowered.tensors.items():
        if isinstance(tensor, Cast) and tensor.overflowed:
            report.notes.append(
                f"{name}: {tensor.overflowed} values overflow {tensor.dtype.name} to infinity"
            )
        if isinstance(tensor, Cast) and tensor.vanished:
            report.notes.append(
                f"{name}: {tensor.vanished} non-zero values become zero in {tensor.dtype.name}"
            )


def _layer_entry(
    layer: Layer,
    lowered: Lowered,
    targets: list[str],
    names: dict[int, list[str]],
    frameworks: tuple[str, str],
) -> LayerEntry:
    source, target = (dialects.dialect(name).forms for name in frameworks)
    entries = [_tensor_entry(name, lowered.tensors[name], names) for name in targets]
    return LayerEntry(
        layer.path,
        layer.kind,
        layer.evidence,
        dict(layer.attributes),
        entries,
        list(layer.candidates),
        [*layer.notes, *standing_notes(layer, target)],
        constructor(layer, target, source),
        unknown(layer, source),
    )


def _tensor_entry(target: str, tensor: Tensor, names: dict[int, list[str]]) -> TensorEntry:
    origins, operations = trace(tensor, names)
    sources = [name for origin in origins for name in names.get(id(origin), [])]
    return TensorEntry(
        target, sources, operations, _dtype_name(tensor.dtype), list(tensor.shape), tensor.nbytes
    )


@lru_cache(maxsize=64)  # numpy makes the name anew each time
def _dtype_name(dtype: DType) -> str:
    return dtype.name
