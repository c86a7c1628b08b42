"""How operations are spelled whose text depends on more than their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ckptconv.codegen.emit.functions import FUNCTIONS
from ckptconv.codegen.emit.text import number
from ckptconv.graph.network import Size

Arguments = Mapping[str, Any]
_JOINED = {"add": " + ", "multiply": " * ", "floor_divide": " // "}
_FILLED = {0: "zeros", 1: "ones"}
_SYMBOLS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}


def compare(a: Arguments, other: str) -> str:
    return f"{{0}} {_SYMBOLS[a['by']]} {other}"


def cuts(a: Arguments) -> str:
    """``[:, 1:-1, 0]`` of ints and (start, stop, step)."""
    return "{0}[" + ", ".join(_one_cut(cut) for cut in a["cuts"]) + "]"


def _one_cut(cut: Any) -> str:
    if isinstance(cut, int | Size):
        return size(cut)
    start, stop, step = ["" if n is None else size(n) for n in cut]
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


def taken(torch: bool) -> Callable[[Arguments], str]:
    """Indexed by values, along axes side by side; MindSpore's places count from the front alone."""

    def text(a: Arguments) -> str:
        axes = range(a["axis"], a["axis"] + a["count"])
        places = [f"{{{i}}}" for i, _ in enumerate(axes, 1)]
        if not torch:
            places = [f"place({p}, {{0}}, {axis})" for p, axis in zip(places, axes, strict=True)]
        return "{0}[" + ", ".join([":"] * a["axis"] + places) + "]"

    return text


def convolved(torch: bool) -> Callable[[Arguments], str]:
    """A convolution by a kernel that is no layer's."""

    def text(a: Arguments) -> str:
        said = {key: a[key] for key in ("stride", "padding", "dilation")}
        rows = {key: row[0] if len({*row}) == 1 else tuple(row) for key, row in said.items()}
        told = {key: n for key, n in rows.items() if n != (key != "padding")}
        if "padding" in told and not torch:
            told = {"pad_mode": "pad", **told}
        if a["groups"] != 1:
            told["groups"] = a["groups"]
        more = "".join(f", {key}={number(value)}" for key, value in told.items())
        head = "nn.functional" if torch else "ops"
        return f"{head}.conv{a['rank']}d({{all}}{more})"

    return text


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


def size(n: Any, inner: bool = False) -> str:
    """Return a number, or a size with the values' braces."""
    if not isinstance(n, Size):
        return number(n)
    if n.op == "axis":
        return "{{{}}}.shape[{}]".format(*n.items)
    text = _JOINED[n.op].join(size(item, inner=True) for item in n.items).replace("+ -", "- ")
    return f"({text})" if inner else text


def sizes(row: Sequence[Any]) -> str:
    """Return sizes between brackets' commas."""
    return f"{size(row[0])}," if len(row) == 1 else ", ".join(map(size, row))


def dtype(a: Arguments) -> str:
    """Return MindSpore's name of a dtype."""
    return "ms.bool_" if a["dtype"] == "bool" else f"ms.{a['dtype']}"


def _filling(value: Any) -> tuple[str, str]:
    """Return (the function that fills in a value, what it is told of it)."""
    word = _FILLED.get(value)
    return (word, "") if word else ("full", f"{number(value)}, ")


def filled(torch: bool) -> Callable[[Arguments], str]:
    """A new value of sizes; in torch on the device of another, where there is one."""

    def text(a: Arguments) -> str:
        row, held = sizes(a["sizes"]), any(isinstance(n, Size) for n in a["sizes"])
        word, shown = _filling(a["value"])
        if not torch:
            return f"ops.{word}(({row}), {shown}dtype={dtype(a)})"
        if held:
            return f"{{0}}.new_{word}(({row}), {shown}dtype=torch.{a['dtype']})"
        return f"torch.{word}(({row}), {shown}dtype=torch.{a['dtype']})"

    return text


def filled_as(torch: bool) -> Callable[[Arguments], str]:
    def text(a: Arguments) -> str:
        word, shown = _filling(a["value"])
        place, of = ("torch", f"torch.{a['dtype']}") if torch else ("ops", dtype(a))
        return f"{place}.{word}_like({{0}}, {shown}dtype={of})"

    return text


def steps(torch: bool) -> Callable[[Arguments], str]:
    """The whole numbers below a size."""

    def text(a: Arguments) -> str:
        place = ", device={0}.device" if torch and isinstance(a["size"], Size) else ""
        return f"{'torch' if torch else 'ops'}.arange({size(a['size'])}{place})"

    return text


def pool(a: Arguments, head: str) -> str:
    return f"{head}({{0}}, {number(a['size'])}, {number(a['stride'])})"


def padded(a: Arguments) -> str:
    """What any pad is called with: zeros need not be said."""
    return "{0}, {sides}" + (", value={value}" if a.get("value") else "")


def pad_of_mindspore(a: Arguments) -> str:
    """Its own is left where it crops: it takes the lengths from what comes after."""
    return "ops.pad" if min(a["sides"]) < 0 else "pad"


def gated(torch: bool) -> Callable[[Arguments], str]:
    """A call of a cell's function, with the activations that are others than usual."""
    usual = {"activation": "tanh", "recurrent_activation": "sigmoid"}

    def text(a: Arguments) -> str:
        said = [f"{key}={FUNCTIONS[a[key]][not torch]}" for key in usual if a[key] != usual[key]]
        return f"conv_lstm({', '.join(['{all}', *said])})"

    return text


def interpolated(torch: bool) -> Callable[[Arguments], str]:
    """Pixels between those of an image, whose corners stay where they are or its edges do."""

    def text(a: Arguments) -> str:
        sizes, corners = number(a["sizes"]), a.get("corners", False)
        if torch:
            told = ", align_corners=True" if corners else ""
            return f'nn.functional.interpolate({{0}}, {sizes}, mode="bilinear"{told})'
        told = "align_corners" if corners else "half_pixel_centers"
        return f"ops.ResizeBilinearV2({told}=True)({{0}}, {sizes})"

    return text


def constant(torch: bool) -> Callable[[Arguments], str]:
    """An array of a dtype; in torch on the device of another value."""

    def text(a: Arguments) -> str:
        said = a.get("dtype", "float32")
        if torch:
            return f"{{0}}.new_tensor({_nested(a['numbers'])}, dtype=torch.{said})"
        return f"ms.Tensor({_nested(a['numbers'])}, {dtype({'dtype': said})})"

    return text


def _nested(numbers: Any) -> str:
    """Return numbers, or rows of rows of them, as lists."""
    if isinstance(numbers, tuple):
        return f"[{', '.join(map(_nested, numbers))}]"
    return number(numbers)
