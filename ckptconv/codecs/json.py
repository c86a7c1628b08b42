"""JSON found in checkpoints: parsed as data, bounded, never built or run."""

from __future__ import annotations

import json
from typing import Any

from ckptconv.errors import ContainerError

_MAX_BYTES = 16 << 20
_MAX_DEPTH = 100
MAX_MEMORY = 128 << 20
_PRICES = {b"{": 240, b"[": 72, b",": 48, b'"': 32}


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
