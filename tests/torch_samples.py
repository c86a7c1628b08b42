"""Tensors of every dtype, and their comparison bit by bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ckptconv.formats.torch.dtypes import DTYPES
from ckptconv.tensors.tensor import Tensor

PLAIN = [name for name in DTYPES if not name.startswith("q")]


def raw(tensor: torch.Tensor) -> bytes:
    """Return the bytes of the values in C order, whatever the dtype."""
    flat = tensor.detach().resolve_conj().contiguous().clone()
    return bytes(flat.reshape(-1).view(torch.uint8).numpy().tobytes())


def sample(dtype: str, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    size = int(np.prod(shape)) * DTYPES[dtype].itemsize
    top = 2 if dtype == "bool" else 256
    values = torch.randint(0, top, (size,), generator=generator, dtype=torch.uint8)
    return values.view(getattr(torch, dtype)).reshape(shape)


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].shape == tuple(tensor.shape), name
        assert found[name].dtype == DTYPES[str(tensor.dtype).removeprefix("torch.")], name
        assert found[name].numpy().tobytes() == raw(tensor), name
