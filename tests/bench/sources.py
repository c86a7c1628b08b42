"""Checkpoints of given sizes, of random floats, as torch saves them."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import ckptconv

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
        torch.save(_state_dict(size), path)
        return path
    to = "torch" if kind == "safetensors" else kind
    ckptconv.convert(make("torch", size, folder), path, to=to)
    return path


def _state_dict(size: str) -> dict[str, torch.Tensor]:
    modules, layers, hidden = SIZES[size]
    torch.manual_seed(5)
    return {
        f"lstm{module}.{name}_l{layer}": torch.rand(4 * hidden, *columns) - 0.5
        for module in range(modules)
        for layer in range(layers)
        for name, columns in (
            ("weight_ih", (hidden,)),
            ("weight_hh", (hidden,)),
            ("bias_ih", ()),
            ("bias_hh", ()),
        )
    }


if __name__ == "__main__":
    print(make(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
