"""JSON: of checkpoints, parsed as data, bounded, never built or run; and of documents, written."""

from __future__ import annotations

import json
import math
from typing import Any

from ckptconv.errors import ContainerError

_MAX_BYTES = 16 << 20
_MAX_DEPTH = 100
MAX_MEMORY = 128 << 20
_PRICES = {b"{": 240, b"[": 72, b",": 48, b'"': 32}
_encode = json.JSONEncoder(allow_nan=False, default=str).encode


def parse(text: str | bytes, path: str, what: str) -> dict[str, Any]:
    """Return a JSON object as a dict.

    Raises:
        ContainerError: not JSON, not an object, over 16 MiB, or nested over 100 deep.
    """
    value: Any = None
    if len(text) <= _MAX_BYTES and memory(text) <= MAX_MEMORY:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, dict) or _deeper_than(value, _MAX_DEPTH):
        raise ContainerError(
            f"{what} cannot be read",
            file=path,
            expected=f"a JSON object up to {_MAX_BYTES >> 20} MiB, nested up to {_MAX_DEPTH} deep",
            found=f"{len(text)} bytes that begin with {text[:32]!r}",
        )
    return value


def memory(text: str | bytes) -> int:
    """Return about how many bytes a JSON text takes once parsed: ``{}`` takes a hundredfold."""
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return len(raw) + sum(raw.count(mark) * price for mark, price in _PRICES.items())


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        inner = [v.values() if isinstance(v, dict) else v for v in level]
        level = [v for values in inner for v in values if isinstance(v, (dict, list))]
    return bool(level)


def to_json(document: Any) -> str:
    """Return a document as JSON text, a line for each of its entries and for each of theirs;
    numbers that are not finite are null."""
    try:
        return _lines(document)
    except ValueError:
        return _lines(_finite(document))


def _lines(value: Any, margin: str = "\n ") -> str:
    """Encode a value; what is deeper is left to the encoder in C, which knows no indentation."""
    if not value or not isinstance(value, dict | list) or len(margin) > 3:
        return _encode(value)
    if isinstance(value, dict):
        parts = [f"{_encode(key)}: {_lines(entry, margin + ' ')}" for key, entry in value.items()]
    else:
        parts = [_lines(entry, margin + " ") for entry in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return f"{left}{margin}{f',{margin}'.join(parts)}{margin[:-1]}{right}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
