"""What two files record of a layer beside its weights, held against each other.

No value shows that a Dense ends in a relu in one file and in a tanh in the other, or that an LSTM
runs backwards there; and a layer that is run by itself is run without its activation.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptconv.checkpoint import KerasFacts
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import without_rank
from ckptconv.graph.settings import apart
from ckptconv.verification.pairing import Block

_IN_TRAINING = "in training only"


def recorded_apart(a: Graph, b: Graph, block: Block) -> str:
    """Return what the files record otherwise of a layer, in a sentence; nothing if they agree."""
    if not (_records(a) and _records(b)):
        return ""
    one, others = block.layer, {id(other.layer): other.layer for _, other in block.parts}
    abroad = a.dialect != b.dialect
    noted = not abroad and a.dialect == "keras"  # others' notes tell of how they are read
    found = [t for other in others.values() for t in _apart(one, other, noted=noted, abroad=abroad)]
    return "the files record other settings: " + "; ".join(dict.fromkeys(found)) if found else ""


def _called(layer: Layer) -> str:
    """Return a kind without what frameworks call otherwise: ranks, and groups of one channel."""
    return without_rank(layer.kind).removeprefix("Depthwise")


def _records(graph: Graph) -> bool:
    facts = graph.origin.facts
    return bool(facts.config) if isinstance(facts, KerasFacts) else bool(graph.origin.modules)


def _apart(one: Layer, other: Layer, *, noted: bool, abroad: bool) -> Iterator[str]:
    told = all(len(layer.candidates) == 1 for layer in (one, other))
    if told and _called(one) != _called(other):
        yield f"kind {one.kind} | {other.kind}"
    settings = apart(one, other, abroad=abroad)
    yield from (f"{key} {said} | {meant}" for key, said, meant in settings)
    notes, others = ([n for n in x.notes if not n.endswith(_IN_TRAINING)] for x in (one, other))
    left = [note for note in notes if note not in others]
    right = [note for note in others if note not in notes]
    if noted and left != right:
        yield " | ".join("; ".join(side) or "nothing" for side in (left, right))
