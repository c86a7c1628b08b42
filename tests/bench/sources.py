"""Checkpoints of given sizes, made from nothing but random bytes of sane floats."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import ckptconv
from ckptconv.checkpoint import Checkpoint
from ckptconv.formats import write
from ckptconv.tensors.dtypes import of
from ckptconv.tensors.tensor import Tensor

SIZES = {
    # name: (recurrent modules, layers in each, hidden size)
    "4MiB": (1, 8, 128),
    "1GiB": (1, 8, 2048),
    "4GiB": (1, 32, 2048),
    "20000": (5000, 1, 8),
}
_SUFFIXES = {"torch": ".pt", "mindspore": ".ckpt", "safetensors": ".safetensors", "keras": ".h5"}


def make(kind: str, size: str, folder: Path) -> Path:
    """Return the source of a kind and size, made once per folder."""
    path = folder / f"source-{size}{_SUFFIXES[kind]}"
    if path.exists():
        return path
    if kind == "torch":
        checkpoint = Checkpoint("torch-zip", dict(_tensors(size)))
        write(checkpoint, path)
        return path
    to = "torch" if kind == "safetensors" else kind
    ckptconv.convert(make("torch", size, folder), path, to=to)
    return path


def _tensors(size: str) -> Iterator[tuple[str, Tensor]]:
    modules, layers, hidden = SIZES[size]
    for module in range(modules):
        for layer in range(layers):
            for name, shape in (
                ("weight_ih", (4 * hidden, hidden)),
                ("weight_hh", (4 * hidden, hidden)),
                ("bias_ih", (4 * hidden,)),
                ("bias_hh", (4 * hidden,)),
            ):
                path = f"lstm{module}.{name}_l{layer}"
                yield path, _Random(shape, seed=zlib.crc32(path.encode()))


class _Random(Tensor):
    """Random values that exist only while they are written."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.shape, self.dtype, self._seed = shape, of("f4"), seed

    def read(self, region):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng((self._seed, *(a for a, _ in region)))
        return rng.random(tuple(b - a for a, b in region), np.float32) - np.float32(0.5)


if __name__ == "__main__":
    print(make(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
