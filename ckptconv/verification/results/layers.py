"""What ``verify`` and ``replay`` found, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ckptconv.graph.graph import Graph
from ckptconv.verification.difference import Difference, compare_arrays, total
from ckptconv.verification.reference.forward import Outputs
from ckptconv.verification.reference.inputs import distance
from ckptconv.verification.results.tensors import (
    TENSOR_HEADERS,
    Table,
    TensorDiff,
    numbers,
    tensor_rows,
)

SCHEMA = "ckptconv-verify-1"


@dataclass
class Run:
    """Outputs of one layer from one side, held against what they should be.

    Attributes:
        by: who computed: ``reference``, or a framework and its version.
        side: whose weights: ``source`` or ``target``.
        against: what it is compared with.
        difference: of outputs and final states, as float32.
        tolerance: what its arithmetic may be off by; None where nothing is asked.
    """

    by: str
    side: str
    against: str
    difference: Difference
    tolerance: float | None = None

    @property
    def ok(self) -> bool:
        return self.tolerance is None or self.difference.max_abs <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        found = {"by": self.by, "side": self.side, "against": self.against}
        tolerance = self.tolerance
        finite = tolerance is not None and math.isfinite(tolerance)
        return found | {
            "ok": self.ok,
            "tolerance": tolerance if finite else None,
            "difference": self.difference.to_dict(),
        }


def outputs_differ(a: Outputs, b: Outputs) -> Difference:
    """Return the differences of outputs and states; ULPs as of float32."""
    found = total(
        compare_arrays(x.astype(np.float32), y.astype(np.float32))
        for x, y in zip(a, b, strict=True)
    )
    found.max_abs = distance(a, b)
    return found


@dataclass
class LayerResult:
    """One layer of the source and its counterpart.

    Attributes:
        source, target: paths; several where one layer became several.
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
        source, target: path, container and framework of each side.
        layers: in the source's order.
        missing, added: tensors of the source, of the target, without counterpart.
        left_out: what was left out by rule.
        frameworks: who ran the layers beside the reference, with versions.
        notes: what the user should know.
        graphs: both sides as they were loaded, for pictures; not part of the document.
    """

    source: dict[str, str]
    target: dict[str, str]
    seed: int
    layers: list[LayerResult] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    frameworks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    schema: str = SCHEMA
    graphs: tuple[Graph, Graph] | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Every tensor has its counterpart and every layer computes the same."""
        return not (self.missing or self.added) and all(layer.ok for layer in self.layers)

    @property
    def verdict(self) -> str:
        """What was shown, and no more: of what was only compared, it does not say that it runs."""
        if not self.ok:
            return "NOT the same model"
        states = {layer.weights for layer in self.layers}
        compared = next((said for state, said in _COMPARED.items() if state in states), "")
        by = {run.by for layer in self.layers for run in layer.runs} - {"reference"}
        done = [any(not by or run.by in by for run in layer.runs) for layer in self.layers]
        count = f"{sum(done)} of {len(done)} layers {'run' if by else 'computed'}"
        same = "the same model: " if all(done) and compared else ""
        return same + "; ".join(filter(None, (compared, count)))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-like values; ``report.schema.json`` describes them."""
        layers = [layer.to_dict() for layer in self.layers]
        document = {name: value for name, value in vars(self).items() if name != "graphs"}
        return {**document, "ok": self.ok, "verdict": self.verdict, "layers": layers}

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
        yield "outputs and final states", _RUN_HEADERS, runs
        differing = [t for layer in self.layers for t in layer.tensors if not t.same_values]
        if differing:
            rows = [row for tensor in differing for row in tensor_rows(tensor)]
            yield "weights that differ", TENSOR_HEADERS, rows
        unpaired: list[tuple[str, ...]] = [(n, "source", "no counterpart") for n in self.missing]
        unpaired += [(name, "target", "no counterpart") for name in self.added]
        unpaired += [(name, "", "left out by rule") for name in self.left_out]
        if unpaired:
            yield "tensors without counterpart", ("tensor", "side", "what"), unpaired


_COMPARED = {"rounded": "weights equal but for exact rounding", "equal": "weights equal"}
"""What is said of all weights, by the weakest state of any layer's."""


_RUN_HEADERS = (
    *("layer", "side", "computed by", "against", "result"),
    *("max abs", "max rel", "max ulp", "tolerance"),
)


def _path(layer: LayerResult) -> str:
    return layer.source if layer.source == layer.target else f"{layer.source} | {layer.target}"


def _run_rows(layer: LayerResult) -> Iterator[tuple[str, ...]]:
    for run in layer.runs:
        tolerance = "" if run.tolerance is None else f"{run.tolerance:.2g}"
        _, absolute, relative, ulps = numbers(run.difference)
        state = "ok" if run.ok else "FAILED"
        who = (_path(layer), run.side, run.by, run.against, state)
        yield (*who, absolute, relative, ulps, tolerance)
