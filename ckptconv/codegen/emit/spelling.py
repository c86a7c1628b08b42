"""How operations are spelled whose text depends on more than their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ckptconv.codegen.emit.text import number

Arguments = Mapping[str, Any]
_SYMBOLS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def compare(a: Arguments, other: str) -> str:
    return f"{{0}} {_SYMBOLS[a['by']]} {other}"


def cuts(a: Arguments) -> str:
    """``[:, 1:-1, 0]`` of ints and (start, stop, step)."""
    return "{0}[" + ", ".join(_one_cut(cut) for cut in a["cuts"]) + "]"


def _one_cut(cut: Any) -> str:
    if isinstance(cut, int):
        return number(cut)
    start, stop, step = ["" if n is None else number(n) for n in cut]
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


def order(a: Arguments) -> str:
    order: Sequence[int] = a["order"]
    swapped = [i for i, n in enumerate(order) if i != n]
    if len(swapped) == 2:
        return f"{{0}}.swapaxes({swapped[0]}, {swapped[1]})"
    return f"{{0}}.permute({', '.join(map(number, order))})"


def repeat_vector(torch: bool) -> Callable[[Arguments], str]:
    def text(a: Arguments) -> str:
        n = number(a["n"])
        if torch:
            return f"{{0}}.unsqueeze(1).expand(-1, {n}, -1)"
        return f"ops.tile({{0}}.expand_dims(1), (1, {n}, 1))"

    return text


def sizes(a: Arguments) -> str:
    """Sizes of which one is that of a value's axis."""
    row = [f"{{0}}.shape[{a['axis']}]" if n == -1 else number(n) for n in a["sizes"]]
    return f"{row[0]}," if len(row) == 1 else ", ".join(row)


def dtype(a: Arguments) -> str:
    """Return MindSpore's name of a dtype."""
    return "ms.bool_" if a["dtype"] == "bool" else f"ms.{a['dtype']}"


def tile_as(head: str) -> Callable[[Arguments], str]:
    def text(a: Arguments) -> str:
        times = [number(n) for n in a["times"]]
        times[a["free"]] = f"{{1}}.shape[{number(a['axis'])}]"
        return head + ", ".join(times) + ("))" if "ops" in head else ")")

    return text


def pool(a: Arguments, head: str) -> str:
    return f"{head}({{0}}, {number(a['size'])}, {number(a['stride'])})"


def padded(a: Arguments) -> str:
    """What any pad is called with: zeros need not be said."""
    return "{0}, {sides}" + (", value={value}" if a.get("value") else "")


def pad_of_mindspore(a: Arguments) -> str:
    """Its own is left where it crops: it takes the lengths from what comes after."""
    return "ops.pad" if min(a["sides"]) < 0 else "pad"
