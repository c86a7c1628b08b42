"""The safetensors container against the safetensors package."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

import ckptconv
from ckptconv import formats
from ckptconv.checkpoint import Checkpoint, SafetensorsFacts
from ckptconv.errors import ContainerError
from ckptconv.tensors.tensor import ArrayTensor

ARRAYS = {
    "b.weight": np.linspace(-2, 3, 30, dtype="f4").reshape(6, 5),
    "a.mask": np.array([True, False, True]),
    "a.count": np.array(7, "i8"),
    "ä.half": np.linspace(-1, 2, 6).astype("f2"),
    "empty": np.zeros((0, 3), "f4"),
}


def test_written_bytes_are_the_packages(tmp_path):
    tensors = {name: ArrayTensor(array) for name, array in ARRAYS.items()}
    checkpoint = Checkpoint("safetensors", tensors, facts=SafetensorsFacts({"format": "pt"}))
    formats.write(checkpoint, tmp_path / "ours.safetensors")
    save_file(ARRAYS, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    ours = (tmp_path / "ours.safetensors").read_bytes()
    assert ours == (tmp_path / "theirs.safetensors").read_bytes()
    for name, array in load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_reads_what_torch_wrote(tmp_path):
    state = {"w": torch.linspace(-1, 1, 10, dtype=torch.bfloat16), "i": torch.arange(3)}
    save_torch(state, tmp_path / "t.safetensors", metadata={"format": "pt"})
    tensors = formats.read(tmp_path / "t.safetensors").tensors
    assert tensors["w"].dtype == ml_dtypes.bfloat16
    assert tensors["w"].numpy().tobytes() == state["w"].view(torch.int16).numpy().tobytes()
    np.testing.assert_array_equal(tensors["i"].numpy(), [0, 1, 2])


def file_of(path, header, payload=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + payload)
    return path


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "size", "message"),
    [
        ({"w": ENTRY}, 4, "found 4"),
        ({"w": ENTRY}, 12, "expected 8 bytes of tensors, found 12"),
        ({"w": ENTRY | {"shape": [3]}}, 8, "expected 12 bytes at 0"),
        ({"w": ENTRY | {"shape": [1 << 50]}}, 8, "bytes at 0, found bytes 0 to 8"),
        ({"w": ENTRY | {"data_offsets": [8, 0]}}, 8, "found bytes 8 to 0"),
        ({"w": ENTRY, "v": ENTRY}, 8, "v: .*at 8, found bytes 0 to 8"),
        ({"w": ENTRY | {"dtype": "F4"}}, 8, "a dtype that cannot be read: .* found F4"),
        ({"w": ENTRY | {"shape": [-2]}}, 8, "dtype, shape and data_offsets"),
        ({"w": ENTRY | {"shape": [True, 2]}}, 8, "dtype, shape and data_offsets"),
        ({"w": 3}, 8, "dtype, shape and data_offsets"),
        ({"__metadata__": {"a": 1}, "w": ENTRY}, 8, "__metadata__ of texts"),
        (b'{"w":1,"w":2}', 0, "a repeated name"),
        (b"{" * 5000, 0, "a header of JSON"),
        (b"{\xff\xfe}", 0, "a header of JSON"),
    ],
)
def test_lying_headers(tmp_path, header, size, message):
    with pytest.raises(ContainerError, match=message):
        formats.read(file_of(tmp_path / "x.safetensors", header, bytes(size)))


def test_every_truncation_is_refused(tmp_path):
    data = file_of(tmp_path / "full", {"w": ENTRY}, bytes(8)).read_bytes()
    for size in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(ContainerError):
            formats.read(tmp_path / "cut")


def test_a_word_of_another_library_is_told(tmp_path):
    """MLX's convolutions have their channels last, which no shape tells from torch's."""
    conv, dense = (
        {"conv.weight": np.ones((4, 3, 3, 2), "f4")},
        {"a/dense/kernel:0": np.ones((4, 5))},
    )
    save_file(conv, tmp_path / "m.safetensors", {"format": "mlx"})
    graph = ckptconv.load(tmp_path / "m.safetensors", kinds={"conv": "Conv2d"})
    assert any("its format is 'mlx', which nothing here knows" in note for note in graph.notes)
    save_file(dense, tmp_path / "t.safetensors", {"format": "tf"})
    (layer,) = ckptconv.load(tmp_path / "t.safetensors")
    assert layer.params["weight"].shape == (5, 4)
