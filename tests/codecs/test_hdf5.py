"""HDF5 structures that only a file made to do harm has; ``tests/formats`` reads whole files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

import ckptconv
from ckptconv import api
from ckptconv.errors import ContainerError
from tests.conftest import ROOT

SEEDS = ROOT / "tests" / "fuzz" / "seeds"


def test_texts_of_no_bytes_are_not_as_many_as_the_file_says(tmp_path: Path) -> None:
    data = bytearray((SEEDS / "v108-legacy.h5").read_bytes())
    text = data.index(b"weight_names\0") + 13  # a datatype: class, size; then a dataspace
    size, count = text + 4, data.index(struct.pack("<Q", 3), text)
    data[size : size + 4] = bytes(4)
    data[count : count + 8] = struct.pack("<Q", 1 << 40)
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(ContainerError, match="attribute 'weight_names'"):
        api.inspect(tmp_path / "x.h5")


@pytest.mark.parametrize("size", [0, 1, 4])
def test_ids_in_a_heap_are_not_too_short_to_be_ids(tmp_path: Path, size: int) -> None:
    data = bytearray((SEEDS / "dense-legacy.h5").read_bytes())
    for part in data.split(b"FRHP\0")[1:]:
        at = data.index(part)
        data[at : at + 2] = struct.pack("<H", size)
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(ContainerError, match="B-tree of a fractal heap"):
        api.inspect(tmp_path / "x.h5")


def test_texts_of_thousands_of_layers_are_read_once(tmp_path: Path) -> None:
    """Keras gives each layer's group its name as an attribute, dozens of them in one heap."""
    layers = {f"net.{i}.weight": np.full((1, 2), i, np.float32) for i in range(5000)}
    known = dict.fromkeys((name.removesuffix(".weight") for name in layers), "Linear")
    graph = ckptconv.from_state_dict(layers, "torch", modules=known)
    ckptconv.save(graph, tmp_path / "x.weights.h5", to="keras")
    found = ckptconv.load(tmp_path / "x.weights.h5")
    assert len(found.origin.tensors) == 5000
