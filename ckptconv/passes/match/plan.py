"""A plan: which module of the source becomes which of the target, and how that is known."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ckptconv.spelling import option

SCHEMA = "ckptconv-plan-1"
GROUPS = ("forced", "proposed", "ambiguous", "impossible")
_HEADINGS = {
    "forced": "forced: there is one reading",
    "proposed": "proposed by order within each structure: check these",
    "ambiguous": "ambiguous: write the one that is meant",
    "impossible": "impossible: no such shapes on the other side",
}


@dataclass(frozen=True)
class Entry:
    """One line of a plan.

    Attributes:
        source: path of a module, or name of a parameter where a module is taken apart; None
            where there is none, ``""`` for the root.
        target: the same on the other side.
        why: what the pairing rests on.
        warning: where names speak for another pairing.
        candidates: what else it could be, on the other side; the likeliest by name first.
    """

    source: str | None
    target: str | None
    why: str
    warning: str = ""
    candidates: tuple[str, ...] = ()

    @property
    def ends(self) -> str:
        """Both sides as one reads them."""
        paths = (self.source, self.target)
        return " → ".join("?" if path is None else path or "(root)" for path in paths)

    def to_dict(self) -> dict[str, Any]:
        more: dict[str, Any] = {"warning": self.warning} if self.warning else {}
        if self.source is None or self.target is None:
            more |= {"candidates": list(self.candidates)} if self.candidates else {}
        return {"source": self.source, "target": self.target, "why": self.why, **more}


@dataclass(frozen=True)
class Plan:
    """Every module of both sides, in one of four groups.

    Attributes:
        forced: pairs with one reading; ``target`` or ``source`` is None for a tied copy.
        proposed: pairs by order within a structure, to be accepted (``--like-order``) or corrected.
        ambiguous: modules with several candidates.
        impossible: modules for whose shapes the other side has nothing.
        source: path and framework of the source.
        target: the same of the target network.
    """

    forced: tuple[Entry, ...] = ()
    proposed: tuple[Entry, ...] = ()
    ambiguous: tuple[Entry, ...] = ()
    impossible: tuple[Entry, ...] = ()
    source: dict[str, str] = field(default_factory=dict)
    target: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all of both sides is forced."""
        return not (self.proposed or self.ambiguous or self.impossible)

    def pairs(self, *, order: bool = False) -> dict[str, str]:
        """Return source path → target path of what is forced and, by ``order``, proposed."""
        entries = self.forced + (self.proposed if order else ())
        return {
            entry.source: entry.target
            for entry in entries
            if entry.source is not None and entry.target is not None
        }

    def moves(self, *, order: bool) -> list[str]:
        """Return what gets another path, each with its reason, as notes have it."""
        accepted = self.proposed if order else ()
        pairs = self.pairs()
        forced = [e for e in self.forced if e.source in pairs and e.source != e.target]
        return [
            f"{option(name)}: {entry.ends}: {entry.why}"
            + (f"; but {entry.warning}" if entry.warning else "")
            for name, entries in (("like", forced), ("like_order", accepted))
            for entry in entries
        ]

    def doubting(self, why: Mapping[str, str]) -> Plan:
        """Return the plan in which the pairs of these modules of the source are ambiguous."""
        paired = (*self.forced, *self.proposed)
        doubted = (
            replace(entry, why=f"{entry.why}, but {why[entry.source or '']}")
            for entry in paired
            if entry.source in why
        )
        forced, proposed = (
            tuple(entry for entry in group if entry.source not in why)
            for group in (self.forced, self.proposed)
        )
        ambiguous = (*self.ambiguous, *doubted)
        return replace(self, forced=forced, proposed=proposed, ambiguous=ambiguous)

    def counts(self) -> str:
        """Return how many modules stand in each group, as a sentence has it."""
        return ", ".join(f"{len(getattr(self, group))} {group}" for group in GROUPS)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-like values; ``report.schema.json`` describes them."""
        groups = {g: [entry.to_dict() for entry in getattr(self, g)] for g in GROUPS}
        return {"schema": SCHEMA, "source": self.source, "target": self.target, **groups}

    def to_map(self) -> str:
        """Return a draft of a ``--map`` file: what is forced first, each line with its reason."""
        lines = [f'# "source" = "target": {self.counts()}']
        for group in GROUPS:
            entries = getattr(self, group)
            lines += ["", f"# {_HEADINGS[group]}"] if entries else []
            lines += [line for entry in entries for line in _map_lines(entry)]
        return "\n".join(lines) + "\n"


def _map_lines(entry: Entry) -> Iterator[str]:
    why = _comment(f"{entry.why}; BUT {entry.warning}" if entry.warning else entry.why)
    if entry.source is not None and entry.target is not None:
        yield f"{_quoted(entry.source)} = {_quoted(entry.target)}  # {why}"
        return
    old, new = ("?" if path is None else _quoted(path) for path in (entry.source, entry.target))
    yield f"# {old} = {new}  # {why}"
    if entry.candidates:
        yield f"#     candidates: {', '.join(map(_quoted, entry.candidates))}"


def _quoted(text: str | None) -> str:
    return json.dumps(text or "", ensure_ascii=False)


def _comment(text: str) -> str:
    return " ".join(text.split())
