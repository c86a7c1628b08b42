"""Files with bytes changed at random: whatever reads them gives values or one kind of error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import ContainerError


def noisy(
    data: bytes, *, seed: int, rounds: int, flips: int, torn: bool = False
) -> Iterator[bytes]:
    """Yield the data with ``flips`` other bytes in it; if ``torn``, each fifth is also cut off."""
    random = np.random.default_rng(seed)
    for step in range(rounds):
        changed = bytearray(data)
        for offset in random.integers(0, len(data), flips):
            changed[offset] = random.integers(0, 256)
        yield bytes(changed[: random.integers(1, len(data)) if torn and step % 5 == 0 else None])


def hold_against_noise(read: Callable[[Path], Any], path: Path, data: bytes, **how: Any) -> None:
    """Read each: what is noticed is a ``ContainerError``, and something is."""
    refused = 0
    for changed in noisy(data, **how):
        path.write_bytes(changed)
        try:
            found = read(path)
            for tensor in found.tensors.values() if isinstance(found, Checkpoint) else ():
                tensor.numpy()
        except ContainerError:
            refused += 1
    assert refused
