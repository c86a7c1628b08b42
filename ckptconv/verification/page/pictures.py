"""Small drawings for the page: heat maps of gate blocks, the permutation, histograms."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ckptconv.tensors.ops import divide
from ckptconv.tensors.regions import Array
from ckptconv.tensors.tensor import Tensor
from ckptconv.verification.difference import Difference
from ckptconv.verification.stored_weights import Stacked

Stackings = Mapping[str, Stacked]
_TILES = 24
_LEVELS = 17
_BLUE, _WHITE, _RED = np.array([[33, 102, 172], [247, 247, 247], [178, 24, 43]])
_BOX, _GAP, _ROW = 64, 12, 150


class Side(NamedTuple):
    """A tensor of a file and how its gates are stacked."""

    tensor: Tensor
    stacked: Stacked


def gates(source: Side, target: Side) -> str:
    """Draw the gate blocks of both files, and which becomes which, as SVG."""
    scale = _largest(source)
    place = {letter: i for i, letter in enumerate(target.stacked.order)}
    width = len(place) * (_BOX + _GAP)
    parts = [*_row(source, 14, scale), *_row(target, _ROW, scale)]
    for i, letter in enumerate(source.stacked.order):
        start, stop = (at * (_BOX + _GAP) + _BOX / 2 for at in (i, place[letter]))
        middle = (14 + _BOX + _ROW - 14) / 2
        parts.append(
            f'<path class="path" d="M{start} {16 + _BOX} C{start} {middle} {stop} {middle} '
            f'{stop} {_ROW - 14}"/>'
        )
    return f'<svg viewBox="0 0 {width} {_ROW + _BOX}" role="img">{"".join(parts)}</svg>'


def histogram(difference: Difference) -> str:
    """Draw how many values differ by how much, by decades, as SVG."""
    counts = [difference.elements - sum(difference.histogram.values())]
    counts += [difference.histogram.get(decade, 0) for decade in range(-12, 1)]
    labels = ["0", *(f"1e{decade}" for decade in range(-12, 1))]
    tallest, step = max(*counts, 1), 30
    parts = []
    for i, (count, label) in enumerate(zip(counts, labels, strict=True)):
        height = 80 * count / tallest
        parts.append(
            f'<rect class="bar" x="{i * step + 3}" y="{96 - height:.1f}" width="{step - 6}" '
            f'height="{height:.1f}"/>'
            f'<text x="{i * step + step / 2}" y="110" text-anchor="middle">{label}</text>'
        )
        if count:
            parts.append(
                f'<text x="{i * step + step / 2}" y="{92 - height:.1f}" '
                f'text-anchor="middle">{count}</text>'
            )
    return f'<svg viewBox="0 0 {step * len(counts)} 114" role="img">{"".join(parts)}</svg>'


def _row(side: Side, top: int, scale: float) -> list[str]:
    order, axis = side.stacked
    parts = []
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
