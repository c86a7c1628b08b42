"""What a comparison found, as values, as JSON and as plain tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ckptconv.graph.graph import Graph
from ckptconv.verification.difference import Difference

SCHEMA = "ckptconv-diff-1"
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""A title, the headers and the rows: what every result of this package is printed from."""

NONE = "the other framework has none"
LeftOut = dict[str, dict[str, str]]
"""File → tensor → the rule by which it was left out; without a file, of either."""
TENSOR_HEADERS = ("tensor", "verdict", "differing", "max abs", "max rel", "max ulp")


@dataclass
class TensorDiff:
    """Two tensors that should be equal.

    Attributes:
        a: name in the first file; ``""`` where it has none.
        b: name in the second, likewise.
        shapes: of a and b; None for a side that has none.
        dtypes: of a and b, likewise.
        difference: None where shapes differ or a side is missing.
        gates: gate letter → the difference of its block, for recurrent tensors that differ.
        how: what was compared, where that is not the tensors as they are.
        ulps: units in the last place by which equal values may be apart: 1 of a product, which
            is rounded from float64 and depends on the order of its sums.
        wider: b's dtype holds more digits than a's.
    """

    a: str
    b: str
    shapes: tuple[list[int] | None, list[int] | None]
    dtypes: tuple[str | None, str | None]
    difference: Difference | None = None
    gates: dict[str, Difference] = field(default_factory=dict)
    how: str = ""
    ulps: int = 0
    wider: bool = False

    @property
    def same_bits(self) -> bool:
        """Same shape, dtype and bits."""
        found = self.difference
        return found is not None and found.differing == 0 and self.dtypes[0] == self.dtypes[1]

    @property
    def same_values(self) -> bool:
        """Same shape and numbers; of two dtypes, one is the other rounded."""
        found = self.difference
        if found is None:
            return False
        apart = found.max_ulp if found.max_ulp is not None else self.ulps + 1
        return found.unequal == 0 or apart <= self.ulps

    @property
    def converted(self) -> bool:
        """Same shape, and b is a in b's own dtype: a wider one adds nothing to the values."""
        exact = self.difference is not None and self.difference.max_abs == 0
        return self.same_values and (exact or not self.wider)

    def within(self, atol: float) -> bool:
        """Tell whether nothing differs by more than ``atol``; 0 means not by a bit."""
        return self.same_bits or (
            atol > 0 and self.difference is not None and self.difference.max_abs <= atol
        )

    @property
    def verdict(self) -> str:
        """What was found, in a few words: ``identical``, ``rounded``, ``differ in i,f``, …"""
        if not self.a or not self.b:
            return "only in the second" if self.b else "only in the first"
        if self.difference is None:
            return "shapes differ"
        if self.same_bits:
            return "identical"
        if self.same_values:
            return "rounded" if self.dtypes[0] != self.dtypes[1] else "equal values, other bits"
        return "differ in " + ",".join(self.gates) if self.gates else "differ"

    def to_dict(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "shapes": list(self.shapes),
            "dtypes": list(self.dtypes),
            "verdict": self.verdict,
            "how": self.how,
            "difference": self.difference and self.difference.to_dict(),
            "gates": {letter: found.to_dict() for letter, found in self.gates.items()},
        }


@dataclass
class DiffReport:
    """What ``diff`` found.

    Attributes:
        a: path, container and framework of the first file.
        b: the same of the second.
        tensors: every tensor of either side, those of the first side first.
        atol: the largest difference that was allowed.
        notes: what the user should know.
        left_out: what was left out by rule.
    """

    a: dict[str, str]
    b: dict[str, str]
    tensors: list[TensorDiff]
    atol: float = 0.0
    notes: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=dict)

    @property
    def different(self) -> list[TensorDiff]:
        return [tensor for tensor in self.tensors if not tensor.within(self.atol)]

    @property
    def ok(self) -> bool:
        """No tensor is missing and none differs by more than ``atol``."""
        return not self.different

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-like values; ``report.schema.json`` describes them."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "a": self.a,
            "b": self.b,
            "atol": self.atol,
            "tensors": [tensor.to_dict() for tensor in self.tensors],
            "notes": self.notes + [f"left out: {told}" for told in listed(self.left_out)],
        }

    def tables(self) -> Iterator[Table]:
        """Yield what differs as plain text."""
        same = len(self.tensors) - len(self.different)
        title = f"{same} of {len(self.tensors)} tensors are the same"
        yield title, TENSOR_HEADERS, [row for t in self.different for row in tensor_rows(t)]


def describe(side: Graph) -> dict[str, str]:
    """Return path, container and framework, as reports name a side."""
    return {"path": side.origin.path, "container": side.origin.format, "framework": side.dialect}


def omitted(*sides: Graph) -> LeftOut:
    """Return what was left out of files."""
    return {side.origin.path: dict(side.omitted) for side in sides}


def listed(left_out: LeftOut) -> list[str]:
    """Return each tensor that was left out, with its file and the rule."""
    return [
        ": ".join(filter(None, (file, name, rule)))
        for file, rules in left_out.items()
        for name, rule in rules.items()
    ]


def tensor_rows(tensor: TensorDiff) -> Iterator[tuple[str, ...]]:
    """Yield a row for a tensor and one for each gate that differs."""
    name = tensor.a if tensor.a == tensor.b else f"{tensor.a or '-'} | {tensor.b or '-'}"
    yield (name, tensor.verdict, *numbers(tensor.difference))
    for letter, found in tensor.gates.items():
        yield (f"  gate {letter}", "", *numbers(found))


def numbers(found: Difference | None) -> tuple[str, str, str, str]:
    """Return differing of all, absolute and relative difference and ULPs as text."""
    if found is None:
        return "", "", "", ""
    ulps = "" if found.max_ulp is None else str(found.max_ulp)
    count = f"{found.differing} of {found.elements}"
    return count, f"{found.max_abs:.3g}", f"{found.max_rel:.3g}", ulps
