"""What ``--json`` prints; ``report.schema.json`` describes every document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ckptconv.errors import CkptconvError

if TYPE_CHECKING:
    from ckptconv.batch import Outcome
    from ckptconv.formats.registry import Format

_FORMAT = ("name", "about", "suffixes", "writes")


def print_json(document: Any) -> None:
    from ckptconv.codecs.json import to_json

    print(to_json(document))


def error_document(error: CkptconvError) -> dict[str, Any]:
    """Return an error with the parts of its message that are known."""
    parts = {
        name: None if (value := getattr(error, name)) is None else str(value)
        for name in ("problem", "file", "tensor", "expected", "found", "hint")
    }
    kind = type(error).__name__
    return {"schema": "ckptconv-error-1", "error": kind, "message": str(error), **parts}


def inspections(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the documents of several files as one."""
    return {"schema": "ckptconv-inspections-1", "files": list(found)}


def outcomes_document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what became of many conversions."""
    return {"schema": "ckptconv-batch-1", "outcomes": [vars(outcome) for outcome in outcomes]}


def formats_document(rows: Sequence[Format]) -> dict[str, Any]:
    """Return the table of file formats."""
    formats = [{name: getattr(row, name) for name in _FORMAT} for row in rows]
    return {"schema": "ckptconv-formats-1", "formats": formats}
