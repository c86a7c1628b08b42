"""One comparison of numbers that were computed with what they should be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ckptconv.tensors.regions import Array
from ckptconv.verification.difference import Difference, compare_arrays, total
from ckptconv.verification.reference.inputs import distance


@dataclass
class Run:
    """Outputs of one layer, or of the network, from one side, held against what they should be.

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
        """Whether nothing differs by more than the tolerance."""
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


def outputs_differ(a: Sequence[Array], b: Sequence[Array]) -> Difference:
    """Return the differences of outputs and states; ULPs as of float32."""
    with np.errstate(over="ignore"):
        pairs = [(x.astype(np.float32), y.astype(np.float32)) for x, y in zip(a, b, strict=True)]
    found = total(compare_arrays(x, y) for x, y in pairs)
    found.max_abs = distance(a, b)
    return found


def computed(run: Run) -> str:
    """Say whose weights were run, and by whom."""
    return f"{run.by} of {run.side}" if run.by == "reference" else f"{run.side} in {run.by}"


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
