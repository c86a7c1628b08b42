"""Lines as ruff formats them at any line length: what is long is one item a line."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ckptconv.errors import CkptconvError

_WHOLE = 1 << 63
WIDTH = 88
"""ruff's default; a trailing comma keeps what is broken broken at other lengths too."""


def call(
    head: str, arguments: Sequence[str], indent: int, tail: str = ")", comma: str = ","
) -> list[str]:
    """Return ``head(arguments)`` as lines; ``head`` ends in an opening bracket."""
    space = " " * indent
    line = f"{space}{head}{', '.join(arguments)}{tail}"
    if len(line) <= WIDTH or not arguments:
        return [line]
    lines = [f"{space}{head}"]
    for item in arguments:
        if len(space) + len(item) + 5 > WIDTH and item.startswith("[") and item.endswith("]"):
            lines += call("[", _items(item[1:-1]), indent + 4, "],")
        else:
            lines.append(f"{space}    {item}{comma}")
    return [*lines, space + tail]


def _items(row: str) -> list[str]:
    """Return what stands between the commas of a row, rows in it whole."""
    found, depth = [""], 0
    for piece in row.split(", "):
        found[-1] += f", {piece}" if depth else piece
        depth += piece.count("[") - piece.count("]")
        if not depth:
            found.append("")
    return found[:-1]


def number(value: object) -> str:
    """Return a number, a word or a row of them as Python writes it.

    Raises:
        CkptconvError: anything else, such as a NaN, or a whole number that no int64 is.
    """
    if value is None or (isinstance(value, int) and abs(value) < _WHOLE):
        return repr(value)
    if isinstance(value, float) and not math.isnan(value):
        return repr(value).replace("e+", "e") if math.isfinite(value) else f'float("{value}")'
    if isinstance(value, str) and value.isidentifier():
        return f'"{value}"'
    if isinstance(value, list | tuple):
        row = ", ".join(number(item) for item in value)
        return f"({row},)" if len(value) == 1 else f"({row})"
    raise CkptconvError(
        "cannot be written in a network", expected="a number or a word", found=value
    )
