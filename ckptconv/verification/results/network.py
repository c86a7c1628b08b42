"""What running a whole written network found, output by output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ckptconv.errors import plural
from ckptconv.verification.results.run import RUN_HEADERS, Run, run_cells

HEADERS = ("output", "inputs", *RUN_HEADERS)


@dataclass
class OutputRun:
    """One output of the network on one set of inputs.

    Attributes:
        output: its number.
        name: what the source's network calls it.
        case: the number of the set of inputs.
    """

    output: int
    name: str
    case: int
    run: Run

    def to_dict(self) -> dict[str, Any]:
        return {
            "output": self.output,
            "name": self.name,
            "case": self.case,
            **self.run.to_dict(),
        }


@dataclass
class NetworkResult:
    """A written network that was run with the target's weights.

    Attributes:
        file: the network.
        sha256: of its text as it was run.
        cases: the sets of inputs, as words and as values.
        runs: every output on every set of inputs, by each way to run the network.
        unshown: how many outputs are the same whatever goes in, or no numbers: they show nothing.
        cause: why it could not be run, or is not the source's, in a sentence; empty if it is.
    """

    file: str
    sha256: str
    cases: list[tuple[str, dict[str, Any]]]
    runs: list[OutputRun] = field(default_factory=list)
    unshown: int = 0
    cause: str = ""

    @property
    def ok(self) -> bool:
        """Every output was computed, and none is off by more than is allowed."""
        return bool(self.runs) and not self.cause

    @property
    def verdict(self) -> str:
        """What was run."""
        by = " and ".join(dict.fromkeys(found.run.by for found in self.runs))
        count, cases = len({found.output for found in self.runs}), len(self.cases)
        outputs = plural(count, "output")
        outputs += f" ({self.unshown} of which show nothing)" if self.unshown else ""
        return f"the network run in {by}: {outputs} on {plural(cases, 'set')} of inputs"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-like values; ``report.schema.json`` describes them."""
        return {
            "file": self.file,
            "sha256": self.sha256,
            "ok": self.ok,
            "cause": self.cause,
            "cases": [values for _, values in self.cases],
            "runs": [found.to_dict() for found in self.runs],
        }

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield a row of ``HEADERS`` for each run."""
        for found in self.runs:
            yield (f"{found.output} {found.name}", self.cases[found.case][0], *run_cells(found.run))
