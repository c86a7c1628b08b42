"""What ``verify`` and ``replay`` found, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ckptconv.graph.graph import Graph
from ckptconv.passes.edit import DROPPED
from ckptconv.verification.results.network import HEADERS, NetworkResult
from ckptconv.verification.results.run import RUN_HEADERS, Run, run_cells
from ckptconv.verification.results.tensors import (
    TENSOR_HEADERS,
    LeftOut,
    Table,
    TensorDiff,
    listed,
    tensor_rows,
)

SCHEMA = "ckptconv-verify-1"


@dataclass
class LayerResult:
    """One layer of the source and its counterpart.

    Attributes:
        source: path; several where one layer became several.
        target: path of its counterpart, likewise.
        kind: of the source's layer.
        weights: ``equal``, ``rounded`` (to a narrower dtype, exactly) or ``differ``.
        tensors: each pair of parameters, compared by value.
        runs: the layer's outputs, computed and compared.
        ok: the layer computes the same, but for errors that are known and named.
        cause: why it passes or fails, in a sentence.
    """

    source: str
    target: str
    kind: str
    weights: str
    tensors: list[TensorDiff]
    runs: list[Run] = field(default_factory=list)
    ok: bool = True
    cause: str = ""

    def to_dict(self) -> dict[str, Any]:
        nested = {
            "tensors": [tensor.to_dict() for tensor in self.tensors],
            "runs": [run.to_dict() for run in self.runs],
        }
        return {**vars(self), **nested}


@dataclass
class VerifyReport:
    """What ``verify`` or ``replay`` found.

    Attributes:
        source: path, container and framework of the source.
        target: the same of the target.
        seed: of the inputs.
        layers: in the source's order.
        missing: tensors of the source without counterpart.
        added: tensors of the target without counterpart.
        left_out: what was left out by rule.
        frameworks: who ran layers or the network beside the reference, with versions.
        network: the written network as it was run; None where none was.
        notes: what the user should know.
        graphs: both sides as they were loaded, for pictures; not part of the document.
    """

    source: dict[str, str]
    target: dict[str, str]
    seed: int
    layers: list[LayerResult] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=dict)
    frameworks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    network: NetworkResult | None = None
    schema: str = SCHEMA
    graphs: tuple[Graph, Graph] | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Every tensor has its counterpart; every layer, and the network, computes the same."""
        network = self.network is None or self.network.ok
        weights = not (self.missing or self.added)
        return network and weights and all(layer.ok for layer in self.layers)

    @property
    def failures(self) -> list[str]:
        """What failed, and why."""
        found = [
            f"{layer.source or '(root)'}: {layer.cause}" for layer in self.layers if not layer.ok
        ]
        found += [f"{name} of the source has no counterpart" for name in self.missing]
        found += [f"{name} of the target has no counterpart" for name in self.added]
        if self.network is not None and not self.network.ok:
            found.append(f"{self.network.file}: {self.network.cause}")
        return found

    @property
    def runs(self) -> list[tuple[str, Run]]:
        """Every run, with the layer or output whose numbers it compares."""
        found = [(_what(layer.source, run), run) for layer in self.layers for run in layer.runs]
        if self.network is None:
            return found
        cases = [words for words, _ in self.network.cases]
        return found + [
            (f"output {one.output} {one.name}, {cases[one.case]}", one.run)
            for one in self.network.runs
        ]

    @property
    def verdict(self) -> str:
        """What was shown, and no more: of what was only compared, it does not say that it runs."""
        if not self.ok:
            return "NOT the same model"
        states = {layer.weights for layer in self.layers}
        compared = next((said for state, said in _COMPARED.items() if state in states), "")
        by = {run.by for layer in self.layers for run in layer.runs} - {"reference"}
        done = [
            any(run.side == "target" and (not by or run.by in by) for run in layer.runs)
            for layer in self.layers
        ]
        count = f"{sum(done)} of {len(done)} layers {'run' if by else 'computed'}" if done else ""
        network = self.network.verdict if self.network else ""
        shown = all(done) if self.network is None else not self.network.unshown or all(done)
        shown = shown and not any(note.endswith(_ALTERED) for note in self.notes)
        rules = (rule for rules in self.left_out.values() for rule in rules.values())
        whole = not any(rule.startswith(DROPPED) for rule in rules)
        same = "the same model: " if compared and shown and whole else ""
        return same + "; ".join(filter(None, (compared, count, network)))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-like values; ``report.schema.json`` describes them."""
        layers = [layer.to_dict() for layer in self.layers]
        document: dict[str, Any] = {"schema": self.schema, **vars(self)}
        del document["graphs"]
        network = self.network and self.network.to_dict()
        document |= {"ok": self.ok, "verdict": self.verdict, "layers": layers, "network": network}
        return document | {"left_out": listed(self.left_out)}

    def tables(self) -> Iterator[Table]:
        """Yield what was found as plain text."""
        yield (
            self.verdict,
            ("layer", "kind", "weights", "result", "because"),
            [
                (
                    _path(layer),
                    layer.kind,
                    layer.weights,
                    "ok" if layer.ok else "FAILED",
                    layer.cause,
                )
                for layer in self.layers
            ],
        )
        runs = [row for layer in self.layers for row in _run_rows(layer)]
        if runs:
            yield "outputs and final states", ("layer", *RUN_HEADERS), runs
        if self.network is not None:
            title = f"the network {self.network.file}"
            title += f": {self.network.cause}" if self.network.cause else ""
            yield title, HEADERS, list(self.network.rows())
        differing = [t for layer in self.layers for t in layer.tensors if not t.converted]
        if differing:
            rows = [row for tensor in differing for row in tensor_rows(tensor)]
            yield "weights that differ", TENSOR_HEADERS, rows
        unpaired: list[tuple[str, ...]] = [(n, "source", "no counterpart") for n in self.missing]
        unpaired += [(name, "target", "no counterpart") for name in self.added]
        if unpaired:
            yield "tensors without counterpart", ("tensor", "side", "what"), unpaired


_ALTERED = "as allowed: outputs differ"
"""How the note of a layer ends that was read as another one."""
_COMPARED = {"rounded": "weights equal but for exact rounding", "equal": "weights equal"}
"""What is said of all weights, by the weakest state of any layer's."""


def _path(layer: LayerResult) -> str:
    return layer.source if layer.source == layer.target else f"{layer.source} | {layer.target}"


def _what(layer: str, run: Run) -> str:
    return " ".join(filter(None, (layer, run.state)))


def _run_rows(layer: LayerResult) -> Iterator[tuple[str, ...]]:
    for run in layer.runs:
        yield (_what(_path(layer), run), *run_cells(run))
