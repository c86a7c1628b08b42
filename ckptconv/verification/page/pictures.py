"""Small drawings for the page: heat maps of gate blocks, the permutation, histograms."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from ckptconv.errors import printable
from ckptconv.tensors.ops import divide
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.difference import DECADES, Difference
from ckptconv.verification.stored_weights import Stacked

_TILES = 24
_LEVELS = 17
_BLUE, _WHITE, _RED = np.array([[33, 102, 172], [247, 247, 247], [178, 24, 43]])
_BOX, _GAP, _TOP, _ROW = 76, 12, 30, 196
_STEP, _HEIGHT = 34, 80


class Side(NamedTuple):
    """A tensor of a file and how its gates are stacked."""

    tensor: Tensor
    stacked: Stacked


def gates(source: Side, target: Side, about: str) -> str:
    """Draw the gate blocks of both files, and where the rows of each gate were found, as SVG."""
    scale = _largest(source)
    parts = [*_row(source, _TOP, scale, "source"), *_row(target, _ROW, scale, "target")]
    found, expected = _found(source, target), target.stacked.order
    for i, letter in enumerate(source.stacked.order):
        due = expected.index(letter)
        at = found.get(letter, due)
        state = "path" if found.get(letter) == due else "path wrong"
        state += "" if letter in found else " lost"
        start, stop = (place * (_BOX + _GAP) + _BOX / 2 for place in (i, at))
        top, bottom = _TOP + _BOX + 2, _ROW - 26
        middle = (top + bottom) / 2
        parts.append(
            f'<path class="{state}" d="M{start} {top} C{start} {middle} {stop} {middle} '
            f'{stop} {bottom}"/>'
        )
    return _svg(4 * (_BOX + _GAP), _ROW + _BOX, about, parts)


def moved(source: Side, target: Side) -> str:
    """Say which gates stand in the place of another; nothing where none does."""
    order, found = target.stacked.order, _found(source, target)
    wrong = [(letter, order[place]) for letter, place in found.items() if order[place] != letter]
    return ", ".join(f"{letter} in the place of {other}" for letter, other in wrong)


def histogram(difference: Difference, tolerance: float | None, about: str) -> str:
    """Draw how many values differ by how much, by decades, as SVG.

    Args:
        tolerance: what was allowed; drawn as a line, and bars beyond it as failures.
    """
    counts = [difference.elements - sum(difference.histogram.values())]
    counts += [difference.histogram.get(decade, 0) for decade in DECADES]
    labels = ["equal", *map(str, DECADES)]
    tallest, floor = max(*counts, 1), _HEIGHT + 30
    limited = tolerance is not None and 0 < tolerance < math.inf
    place = math.log10(tolerance) - DECADES[0] + 1 if limited and tolerance else len(counts)
    parts = []
    for i, (count, label) in enumerate(zip(counts, labels, strict=True)):
        height, left = _HEIGHT * count / tallest, i * _STEP
        state = "bar over" if i >= place else "bar"
        parts.append(
            f'<rect class="{state}" x="{left + 3}" y="{floor - height:.1f}" '
            f'width="{_STEP - 6}" height="{height:.1f}"/>'
            + _word(left + _STEP / 2, floor + 14, label, "middle")
            + (_word(left + _STEP / 2, floor - 4 - height, _short(count), "middle") * bool(count))
        )
    if limited:
        x = _STEP * min(max(place, 1.0), float(len(counts)))
        anchor, gap = ("end", -4) if x > _STEP * len(counts) / 2 else ("start", 4)
        parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{floor}"/>')
        parts.append(_word(x + gap, 11, f"allowed: {tolerance:.2g}", anchor))
    return _svg(_STEP * len(counts), floor + 20, f"{about}, by powers of ten", parts)


def _svg(width: float, height: float, about: str, parts: Sequence[str]) -> str:
    label = escape(printable(about))
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def _word(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _short(count: int) -> str:
    """Return a count in at most four characters."""
    for power, letter in ((9, "G"), (6, "M"), (3, "k")):
        if count >= 10**power:
            return (
                f"{count / 10**power:.2g}{letter}"
                if count < 10 ** (power + 2)
                else (f"{count // 10**power}{letter}")
            )
    return str(count)


def _found(source: Side, target: Side) -> dict[str, int]:
    """Return for each gate of the source the place in the target where its rows stand."""
    ours, theirs = _samples(source), _samples(target)
    order = target.stacked.order
    found = {}
    for letter, rows in zip(source.stacked.order, ours, strict=True):
        due = order.index(letter)
        places = sorted(range(len(theirs)), key=lambda place: place != due)
        alike = [place for place in places if _alike(rows, theirs[place])]
        if alike:
            found[letter] = alike[0]
    return found


def _samples(side: Side) -> list[Array]:
    """Return a sample of each gate's block, gates' rows as rows."""
    blocks = divide(side.tensor, side.stacked.axis, len(side.stacked.order))
    return [_tiles(block).T if side.stacked.axis else _tiles(block) for block in blocks]


def _alike(one: Array, other: Array) -> bool:
    """Tell whether samples are the same but for a lower precision."""
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-2, atol=1e-6))


def _row(side: Side, top: int, scale: float, name: str) -> list[str]:
    order, axis = side.stacked
    lying = ", transposed: each gate's rows stand as columns" if axis else ""
    parts = [_word(0, top - 16, name + lying)]
    for i, block in enumerate(divide(side.tensor, axis, len(order))):
        left = i * (_BOX + _GAP)
        parts.append(f'<text x="{left}" y="{top - 3}">{order[i]}</text>')
        parts.append(
            f'<image x="{left}" y="{top}" width="{_BOX}" height="{_BOX}" '
            f'preserveAspectRatio="none" href="{_png(_tiles(block), scale)}"/>'
        )
    return parts


def _largest(side: Side) -> float:
    blocks = divide(side.tensor, side.stacked.axis, len(side.stacked.order))
    return max((float(np.abs(_tiles(block)).max(initial=0)) for block in blocks), default=0) or 1.0


def _tiles(block: Tensor) -> Array:
    """Return a sample of a block's values: evenly spaced rows and columns."""
    rows, columns = ([*np.unique(np.linspace(0, n - 1, _TILES).astype(int))] for n in block.shape)
    sampled = [block.read(((r, r + 1), (0, block.shape[1])))[0, columns] for r in rows]
    values = np.stack(sampled).astype(np.float64)
    return np.where(np.isfinite(values), values, 0)


def _png(values: Array, scale: float) -> str:
    """Return values from -scale (blue) over 0 (white) to scale (red) as a PNG data URI."""
    ramp = np.linspace(-1, 1, _LEVELS)[:, None]
    palette = _WHITE + np.abs(ramp) * (np.where(ramp < 0, _BLUE, _RED) - _WHITE)
    levels = np.rint((np.clip(values / scale, -1, 1) + 1) / 2 * (_LEVELS - 1)).astype(np.uint8)
    height, width = levels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, body)
        for name, body in (
            (b"IHDR", header),
            (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
            (b"IDAT", zlib.compress(lines.tobytes(), 9)),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
