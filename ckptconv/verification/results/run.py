"""One comparison of numbers that were computed with what they should be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckptconv.tensors.regions import Array
from ckptconv.verification.difference import Difference, compare_arrays
from ckptconv.verification.reference.forward import Outputs
from ckptconv.verification.reference.inputs import Limits, distance


@dataclass
class Run:
    """Outputs of a layer or network, or final states, held against what they should be.

    Attributes:
        by: who computed: ``reference``, or a framework and its version.
        side: whose weights: ``source`` or ``target``.
        against: what it is compared with.
        difference: of all values, as float32.
        tolerance: what its arithmetic may be off by; None where nothing is asked.
        state: which final state is compared; empty for outputs.
    """

    by: str
    side: str
    against: str
    difference: Difference
    tolerance: float | None = None
    state: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        return self.tolerance is None or self.difference.max_abs <= self.tolerance

    def to_dict(self) -> dict[str, Any]:
        found = {name: getattr(self, name) for name in ("by", "side", "against", "state")}
        tolerance = self.tolerance
        finite = tolerance is not None and math.isfinite(tolerance)
        return found | {
            "ok": self.ok,
            "tolerance": tolerance if finite else None,
            "difference": self.difference.to_dict(),
        }


def outputs_differ(a: Array, b: Array) -> Difference:
    """Return the difference of outputs or states; ULPs as of float32."""
    with np.errstate(over="ignore"):
        found = compare_arrays(a.astype(np.float32), b.astype(np.float32))
    found.max_abs = distance(a, b)
    return found


def held(
    by: str, side: str, against: str, found: Outputs, exact: Outputs, limits: Limits
) -> list[Run]:
    """Hold outputs, and each of the final states that there are, against their own tolerance."""
    return [
        Run(by, side, against, outputs_differ(x, y), limit, state)
        for state, x, y, limit in zip(_STATES, found, exact, limits, strict=True)
        if not state or y.size
    ]


def worst(runs: Iterable[Run]) -> Run:
    """Return the run that is furthest beyond its tolerance, or nearest to it."""
    return max(runs, key=lambda run: run.difference.max_abs / (run.tolerance or 1e-9))


def computed(run: Run) -> str:
    """Say whose weights were run, and by whom."""
    return f"{run.by} of {run.side}" if run.by == "reference" else f"{run.side} in {run.by}"


_STATES = ("", "h_n", "c_n")
RUN_HEADERS = ("computed", "against", "result", "max abs", "tolerance")


def run_cells(run: Run) -> tuple[str, ...]:
    """Return a row of ``RUN_HEADERS``."""
    tolerance = "" if run.tolerance is None else f"{run.tolerance:.2g}"
    return (
        computed(run),
        run.against,
        "ok" if run.ok else "FAILED",
        f"{run.difference.max_abs:.3g}",
        tolerance,
    )
