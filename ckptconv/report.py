"""What became of every tensor: the account of a conversion.

The account is read off the tensors themselves: each target tensor knows what it is computed from,
so nothing has to be written down along the way, and nothing can be forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptconv import dialects
from ckptconv.checkpoint import UNTIED, KerasFacts, tie_notes
from ckptconv.codegen.constructor import constructor, standing_notes, unknown
from ckptconv.errors import DialectError, listed
from ckptconv.graph.forms import Forms
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.lowered import Lowered, Made
from ckptconv.spelling import option
from ckptconv.tensors.provenance import Provenance
from ckptconv.tensors.tensor import Tensor

SCHEMA = "ckptconv-report-1"


@dataclass
class TensorEntry:
    """One target tensor and where it came from.

    Attributes:
        target: its name.
        sources: names of what it was made of; empty for what was added.
        operations: what was done to it; empty where its bytes are the source's.
        dtype: of the target.
        shape: of the target.
        nbytes: of the target.
    """

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
        path: of the module.
        kind: a row of the table of layers, or ``Parameter``.
        evidence: how the kind is known.
        attributes: hyper-parameters under torch's names, where the source records them.
        tensors: of the target.
        candidates: all kinds that fit what the source tells.
        notes: what differs in use.
        constructor: the call that builds it on the target; ``""`` where the target has none.
        unknown: hyper-parameters that the source does not record, each with what is assumed.
        read_as: the path that the source has it under.
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
    read_as: str = ""


@dataclass
class Report:
    """The account of one conversion.

    Attributes:
        source: path, container and framework of the file that was read.
        target: the same of the file that was written.
        layers: in model order.
        omitted: source name → the rule by which it was left out.
        notes: what the user should know.
        written: whether the target was written; False after a dry run.
        restore: what ``restore=`` needs to undo the conversion.
        network: the Python file that the network was written to.
        layout: of a source that is Keras's: layer → its weights in their order, or group → name.
        shapes: of the weights of such a source.
        schema: the kind of document and its version, as ``report.schema.json`` has it.
    """

    source: dict[str, str]
    target: dict[str, str]
    layers: list[LayerEntry]
    omitted: dict[str, str]
    notes: list[str]
    written: bool = False
    restore: list[dict[str, str]] = field(default_factory=list)
    network: str | None = None
    layout: dict[str, list[str]] = field(default_factory=dict)
    shapes: dict[str, list[int]] = field(default_factory=dict)
    schema: str = SCHEMA

    @property
    def tensors(self) -> list[TensorEntry]:
        """All tensors of the target, layer by layer."""
        return [entry for layer in self.layers for entry in layer.tensors]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-like values; ``report.schema.json`` describes them."""
        layers = [
            {**vars(layer), "tensors": [{**vars(entry)} for entry in layer.tensors]}
            for layer in self.layers
        ]
        return {"schema": self.schema, **vars(self), "layers": layers}


def account(
    graph: Graph,
    lowered: Lowered,
    target: dict[str, str],
    *,
    shares: bool = False,
    network: Mapping[str, Tensor] | None = None,
    like: bool = False,
) -> Report:
    """Say for each source and each target tensor what became of it.

    Args:
        target: path, container and framework.
        shares: whether two names can be one tensor in the target's format.
        network: the parameters of a live target, which are tied there or not.
        like: whether the names are those of a target network, as it saved them.

    Raises:
        DialectError: a source tensor was neither used nor left out by a rule.
    """
    held = graph.origin.tensors
    origin = graph.origin.provenance
    said = _Said(*(dialects.dialect(n).forms for n in (graph.dialect, target["framework"])))
    layers = [_layer_entry(made, lowered, origin, said) for made in lowered.made]
    used = {source for layer in layers for entry in layer.tensors for source in entry.sources}
    rules = dict(graph.omitted)
    for tensor, rule in lowered.dropped:
        rules.update(dict.fromkeys(origin.names(tensor), rule))
    missing = [name for name in held if name not in used and name not in rules]
    if missing:
        where = graph.origin.path
        raise DialectError("not accounted for", file=where, tensor=listed(missing, 5))
    order = [*(name for name in held if name in rules), *(n for n in rules if n not in held)]
    omitted = {name: rules[name] for name in order if name not in used}
    source = {"path": graph.origin.path, "container": graph.origin.format}
    kept = {name: tensor for name, tensor in held.items() if name not in omitted}
    made = [(e.target, e.sources) for layer in layers for e in layer.tensors]
    notes = tie_notes(kept, made, network or (lowered.tensors if shares else {}))
    if network is None and not like and any(UNTIED in note for note in notes):
        notes.append(_for_tied(target["framework"]))
    return Report(
        {**source, "framework": graph.dialect},
        target,
        layers,
        omitted,
        [*graph.notes, *lowered.notes, *notes],
        layout=_layout(graph.origin.facts),
        shapes={n: [*t.shape] for n, t in held.items()} if graph.dialect == "keras" else {},
    )


def _for_tied(framework: str) -> str:
    """Return how a network that is tied before it loads gets its weights."""
    advice = f"{option('like', 'TARGET')}, which a tied network saved, gives it its names"
    if framework != "keras":
        return advice
    return f"{advice}, and {option('drop', ['PATH'])} leaves out the layer that it has not"


def _layout(facts: object) -> dict[str, list[str]]:
    if not isinstance(facts, KerasFacts):
        return {}
    if facts.layout == "legacy":
        return {layer: list(weights) for layer, weights in facts.weights.items()}
    return {group: [name] for group, name in facts.names.items()}


class _Said:
    """What is said of a layer by its kind, sizes and settings: once for all blocks of a network."""

    def __init__(self, source: Forms, target: Forms) -> None:
        self._source, self._target = source, target
        self._known: dict[object, tuple[list[str], str, list[str]]] = {}

    def of(self, layer: Layer) -> tuple[list[str], str, list[str]]:
        """Return (notes, constructor, what is unknown)."""
        shapes = tuple((name, tensor.shape) for name, tensor in layer.params.items())
        settings = repr((layer.attributes, layer.assumed, layer.candidates))
        key = type(layer), layer.kind, shapes, settings
        if key not in self._known:
            self._known[key] = (
                standing_notes(layer, self._target),
                constructor(layer, self._target, self._source),
                unknown(layer, self._source),
            )
        return self._known[key]


def _layer_entry(made: Made, lowered: Lowered, origin: Provenance, said: _Said) -> LayerEntry:
    layer, targets = made
    notes, call, missing = said.of(layer)
    return LayerEntry(
        layer.path,
        layer.kind,
        layer.evidence,
        dict(layer.attributes),
        [_tensor_entry(name, lowered.tensors[name], origin) for name in targets],
        list(layer.candidates),
        [*layer.notes, *notes],
        call,
        list(missing),
        layer.hint_path,
    )


def _tensor_entry(target: str, tensor: Tensor, origin: Provenance) -> TensorEntry:
    origins, operations = origin.trace(tensor)
    sources = [name for leaf in origins for name in origin.own(leaf)]
    return TensorEntry(
        target, sources, operations, tensor.dtype.name, list(tensor.shape), tensor.nbytes
    )
