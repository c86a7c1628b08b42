"""torch's files from before the zip: against torch, which still reads them."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import ContainerError
from ckptconv.formats import read
from tests.noise import hold_against_noise
from tests.torch_samples import PLAIN, assert_same, sample


def saved(path: Path, value: object, **options: Any) -> Checkpoint:
    torch.save(value, path, _use_new_zipfile_serialization=False, **options)
    return read(path)


@pytest.mark.parametrize("dtype", [name for name in PLAIN if name[:4] not in ("uint", "floa")])
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    tensors = {"matrix": sample(dtype, 3, 4), "scalar": sample(dtype), "none": sample(dtype, 0, 2)}
    checkpoint = saved(tmp_path / "x.pt", tensors)
    assert checkpoint.format == "torch-legacy"
    assert_same(checkpoint.tensors, tensors)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_pickle_protocols(tmp_path: Path, protocol: int) -> None:
    state = torch.nn.LSTM(3, 4, 2).state_dict()
    checkpoint = saved(tmp_path / "x.pt", state, pickle_protocol=protocol)
    assert_same(checkpoint.tensors, state)
    assert checkpoint.modules[""].version == 1


def test_views_and_ties(tmp_path: Path) -> None:
    flat = torch.arange(30.0)
    tensors = {"a": flat[:12].view(3, 4), "b": flat[12:], "c": flat[12:], "t": flat.view(5, 6).t()}
    checkpoint = saved(tmp_path / "x.pt", tensors)
    assert_same(checkpoint.tensors, tensors)
    spans = [checkpoint.tensors[name].extents() for name in "abc"]
    assert spans[0] != spans[1] == spans[2]


def test_storage_views_of_old_versions(tmp_path: Path) -> None:
    """Versions 0.1.10 to 0.3 gave the sixth field: (key, offset, size) of a view of a storage."""
    torch.save({"w": torch.arange(10.0)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pt").read_bytes()
    at = data.index(b"K\nNtq")  # numel 10, no view
    key = b"X\4\0\0\0view"
    (tmp_path / "y.pt").write_bytes(data[: at + 2] + b"(" + key + b"K\2K\5t" + data[at + 3 :])
    raw = (tmp_path / "y.pt").read_bytes().replace(b"K\0K\n\x85", b"K\0K\5\x85")
    (tmp_path / "y.pt").write_bytes(raw)
    expected = torch.load(tmp_path / "y.pt", weights_only=False)
    assert_same(read(tmp_path / "y.pt").tensors, expected)
    assert expected["w"].tolist() == [2, 3, 4, 5, 6]


def test_truncation_and_noise(tmp_path: Path) -> None:
    torch.save(
        torch.nn.GRU(2, 3).state_dict(), tmp_path / "x.pt", _use_new_zipfile_serialization=False
    )
    data, path = (tmp_path / "x.pt").read_bytes(), tmp_path / "y.pt"
    for size in range(0, len(data), 13):
        path.write_bytes(data[:size])
        with pytest.raises(ContainerError):
            read(path)
    hold_against_noise(read, path, data, seed=4, rounds=400, flips=3)


def test_a_storage_of_a_lying_length(tmp_path: Path) -> None:
    torch.save({"w": torch.arange(3.0)}, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x.pt").read_bytes()
    for length in (2, 1 << 40, -1):
        lying = data[:-20] + struct.pack("<q", length) + data[-12:]
        (tmp_path / "y.pt").write_bytes(lying)
        with pytest.raises(ContainerError, match=r"storage '\d+' of another size"):
            read(tmp_path / "y.pt")


class Reference:
    """Stands for a tensor in the pickle of a tar file."""

    def __init__(self, key: int) -> None:
        self.key = key


def tar_file(
    path: Path, storages: list[tuple[int, Any, np.ndarray]], views: Any, tensors: Any, value: Any
) -> None:
    """Write what torch 0.1.9 wrote; torch.load proves that it is."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return str(obj.key) if isinstance(obj, Reference) else None

    def dumped(obj: Any) -> bytes:
        out = io.BytesIO()
        Pickler(out, 2).dump(obj)
        return out.getvalue()

    first = dumped(len(storages))
    for key, cls, array in storages:
        first += dumped((key, "cpu", cls)) + struct.pack("<q", array.size) + array.tobytes()
    first += dumped(views)
    second = dumped(len(tensors))
    for key, storage, sizes, strides, offset in tensors:
        second += dumped((key, storage, torch.FloatTensor))
        numbers = (*sizes, *strides, offset)
        second += struct.pack(f"<ii{len(numbers)}q", len(sizes), 0, *numbers)
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as file:
        for name, data in (("storages", first), ("tensors", second), ("pickle", dumped(value))):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def old_tar(path: Path) -> None:
    array = np.arange(24, dtype="<f4") + 1
    storages = [(7, torch.FloatStorage, array), (8, torch.LongStorage, np.arange(3, dtype="<i8"))]
    tensors = [
        (1, 7, (2, 3), (3, 1), 6),
        (2, 9, (4,), (1,), 1),
        (3, 8, (3,), (1,), 0),
        (4, 7, (3, 2), (1, 3), 0),
    ]
    value = {"a": Reference(1), "b": Reference(2), "c": Reference(3), "d": Reference(4)}
    tar_file(path, storages, [(9, 7, 4, 6)], tensors, {"epoch": 3, "state_dict": value})


@pytest.mark.filterwarnings("ignore")
def test_tar_files(tmp_path: Path) -> None:
    old_tar(tmp_path / "x.pt")
    expected = torch.load(tmp_path / "x.pt", weights_only=False)["state_dict"]
    checkpoint = read(tmp_path / "x.pt")
    assert checkpoint.format == "torch-tar"
    assert_same(checkpoint.tensors, expected)
    assert checkpoint.omitted == {"epoch": "beside the selected weights: 3"}


def test_damaged_tar_files(tmp_path: Path) -> None:
    old_tar(tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    hold_against_noise(read, tmp_path / "y.pt", data, seed=4, rounds=500, flips=3, torn=True)
