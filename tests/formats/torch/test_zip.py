"""torch's zip files, against torch itself."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.errors import ContainerError
from ckptconv.formats import read, write
from ckptconv.formats.torch import zip as torch_zip
from ckptconv.formats.torch.dtypes import DTYPES
from ckptconv.tensors.dtypes import of
from ckptconv.tensors.tensor import ArrayTensor, FilledTensor, Tensor
from tests.noise import hold_against_noise
from tests.torch_samples import PLAIN, assert_same, raw, sample


def saved(path: Path, value: object, **options: Any) -> Checkpoint:
    torch.save(value, path, **options)
    return read(path)


@pytest.mark.parametrize("dtype", PLAIN)
def test_every_dtype_both_ways(tmp_path: Path, dtype: str) -> None:
    tensors = {"matrix": sample(dtype, 3, 4), "scalar": sample(dtype), "none": sample(dtype, 0, 2)}
    checkpoint = saved(tmp_path / "in.pt", tensors)
    assert checkpoint.format == "torch-zip"
    assert_same(checkpoint.tensors, tensors)
    write(checkpoint, tmp_path / "out.pt")
    for mmap in (False, True):
        loaded = torch.load(tmp_path / "out.pt", weights_only=True, mmap=mmap)
        for name, tensor in tensors.items():
            assert loaded[name].dtype == tensor.dtype
            assert loaded[name].shape == tensor.shape
            assert raw(loaded[name]) == raw(tensor)
    assert_same(read(tmp_path / "out.pt").tensors, tensors)


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_pickle_protocols(tmp_path: Path, protocol: int) -> None:
    state = torch.nn.LSTM(3, 4).state_dict()
    checkpoint = saved(tmp_path / "x.pt", state, pickle_protocol=protocol)
    assert_same(checkpoint.tensors, state)
    assert checkpoint.modules == {"": Module(version=1)}


def test_strides_of_every_kind(tmp_path: Path) -> None:
    base = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5) + 1
    flat = torch.arange(40.0)
    tensors = {
        "whole": base,
        "transposed": base[0, 0].t(),
        "permuted": base.permute(2, 0, 3, 1),
        "channels_last": base.contiguous(memory_format=torch.channels_last),
        "cut": base[:, 1:, :, 2:4],
        "stepped": flat[3::4],
        "column": base[0, 0, :, 1],
        "expanded": flat[7:8].expand(6, 3, 1),
        "row expanded": flat[:4].expand(3, 4),
        "overlapping": flat.as_strided((5, 4), (1, 2), 3),
        "one": base[0, 0, 0, 1],
        "thin": base[:1].permute(1, 0, 2, 3),
        "empty": base[:, :0],
        "bf16": base.to(torch.bfloat16).permute(3, 2, 1, 0)[1:],
        "flipped": base.flip(0),
    }
    checkpoint = saved(tmp_path / "x.pt", tensors)
    assert_same(checkpoint.tensors, tensors)
    for name, tensor in tensors.items():
        whole = checkpoint.tensors[name].numpy()
        parts = [block.reshape(-1) for block in checkpoint.tensors[name].blocks(64)]
        assert np.array_equal(np.concatenate(parts or [whole.reshape(-1)]), whole.reshape(-1)), name
        assert tensor.numel() == whole.size
    assert checkpoint.tensors["transposed"].label == "transpose"
    assert checkpoint.tensors["thin"].extents() is not None


def test_a_large_strided_tensor_is_read_in_pieces(tmp_path: Path) -> None:
    base = torch.arange(3_000_000, dtype=torch.float32).reshape(3000, 1000)
    tensors = {"cut": base[:, 1:999:2], "expanded": base[5].expand(40, 1000)}
    assert_same(saved(tmp_path / "x.pt", tensors).tensors, tensors)


@pytest.mark.parametrize("dtype", PLAIN)
def test_big_endian(tmp_path: Path, dtype: str) -> None:
    tensors = {"a": sample(dtype, 6, 5), "b": sample(dtype, 6, 5).t(), "c": sample(dtype, 9)[::2]}
    torch.save(tensors, tmp_path / "x.pt")
    width = DTYPES[dtype].itemsize // (2 if dtype.startswith("complex") else 1)
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as source,
        zipfile.ZipFile(tmp_path / "big.pt", "w") as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if "/data/" in name:
                data = np.frombuffer(data, f"u{width}").byteswap().tobytes()
            target.writestr(name, b"big" if name.endswith("byteorder") else data)
    assert_same(read(tmp_path / "big.pt").tensors, tensors)


def test_ties_and_flat_weights(tmp_path: Path) -> None:
    lstm = torch.nn.LSTM(3, 4, 2, bidirectional=True)
    shared = torch.arange(6.0)
    flat = torch.arange(30.0)
    tensors = {"a": shared, "b": shared, "x": flat[:12].view(3, 4), "y": flat[12:]}
    checkpoint = saved(tmp_path / "x.pt", {**tensors, **lstm.state_dict()})
    spans = {name: tensor.extents() for name, tensor in checkpoint.tensors.items()}
    assert spans["a"] == spans["b"]
    assert spans["x"] != spans["y"]
    write(checkpoint, tmp_path / "out.pt")
    loaded = torch.load(tmp_path / "out.pt", weights_only=True)
    assert loaded["a"].data_ptr() == loaded["b"].data_ptr()
    assert_same(checkpoint.tensors, loaded)
    with zipfile.ZipFile(tmp_path / "out.pt") as file:
        assert len([n for n in file.namelist() if "/data/" in n]) == len(loaded) - 1


def test_written_files_satisfy_everybody(tmp_path: Path) -> None:
    model = torch.nn.Sequential(
        torch.nn.Embedding(7, 3), torch.nn.LSTM(3, 4), torch.nn.BatchNorm1d(4)
    )
    checkpoint = saved(tmp_path / "in.pt", model.state_dict())
    outputs = []
    for name in ("one.pt", "two.pt"):
        write(checkpoint, tmp_path / name)
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1]
    with zipfile.ZipFile(tmp_path / "one.pt") as file:
        assert file.testzip() is None
        assert all(info.compress_type == 0 for info in file.infolist())
    if Path("/usr/bin/unzip").exists():
        subprocess.run(["/usr/bin/unzip", "-tq", str(tmp_path / "one.pt")], check=True)
    for mmap in (False, True):
        loaded = torch.load(tmp_path / "one.pt", weights_only=True, mmap=mmap)
        assert loaded._metadata == model.state_dict()._metadata  # type: ignore[attr-defined]
        model.load_state_dict(loaded, strict=True)
        assert_same(checkpoint.tensors, loaded)


def test_a_state_dict_of_values_that_stand_in_no_file(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {
        "zeros": FilledTensor((2, 3), of("<f4")),
        "näme \n": ArrayTensor(np.arange(3, dtype=ml_dtypes.bfloat16)),
        "": ArrayTensor(np.float64(4.5).reshape(())),
    }
    (tmp_path / "x.pt").write_bytes(b"")
    torch_zip.write(Checkpoint("torch-zip", tensors), str(tmp_path / "x.pt"))
    loaded = torch.load(tmp_path / "x.pt", weights_only=True)
    assert_same(tensors, loaded)
    float4 = ArrayTensor(np.zeros(2, ml_dtypes.float4_e2m1fn))
    with pytest.raises(ContainerError, match="t: cannot be written: found dtype float4"):
        torch_zip.write(Checkpoint("torch-zip", {"t": float4}), str(tmp_path / "x.pt"))


def test_wrapped_tensors(tmp_path: Path) -> None:
    class Tagged(torch.nn.Parameter):
        """Has attributes, so that it is saved with its state."""

    parameter = torch.nn.Parameter(torch.arange(3.0))
    parameter.tag = "x"  # type: ignore[attr-defined]
    tensors = {
        "parameter": torch.nn.Parameter(torch.arange(4.0)),
        "with state": parameter,
        "buffer": torch.nn.Buffer(torch.arange(2.0)),
        "requires grad": torch.ones(2, requires_grad=True),
    }
    found = saved(tmp_path / "x.pt", tensors).tensors
    assert_same(found, {name: tensor.detach() for name, tensor in tensors.items()})


@pytest.mark.filterwarnings("error::RuntimeWarning", "ignore::UserWarning")
def test_quantized_tensors_are_dequantized_and_named(tmp_path: Path) -> None:
    values = torch.linspace(-3, 3, 12).reshape(3, 4)
    scales, zeros = torch.tensor([0.1, 0.03, 0.07], dtype=torch.float64), torch.tensor([3, 0, -2])
    tensors = {
        "tensor": torch.quantize_per_tensor(values, 0.07, 5, torch.quint8),
        "wide": torch.quantize_per_tensor(values, 1e-7, 0, torch.qint32),
        "infinite": torch.quantize_per_tensor(values * 1e38, 1e39, 0, torch.qint8),
        "channel": torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8),
        "columns": torch.quantize_per_channel(
            values, torch.rand(4).double() + 0.1, torch.zeros(4).long(), 1, torch.qint8
        ),
        "rows": torch.quantize_per_channel(values, scales.float(), torch.rand(3), 0, torch.quint8),
        "plain": values,
    }
    checkpoint = saved(tmp_path / "x.pt", tensors)
    dense = {name: t.dequantize() if t.is_quantized else t for name, t in tensors.items()}
    assert_same(checkpoint.tensors, dense)
    stored = {n: t.inputs[0].dtype.name for n, t in checkpoint.tensors.items() if t.label}
    assert stored == {
        "tensor": "uint8",
        "wide": "int32",
        "infinite": "int8",
        "channel": "int8",
        "columns": "int8",
        "rows": "uint8",
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.eye(3).to_sparse_csr(), "sparse"),
        (torch.empty(3, device="meta"), "meta"),
        (torch.ones(2, dtype=torch.complex64).conj(), "a view with conjugated"),
        (torch.ones(2, dtype=torch.complex32), "ComplexHalf|complex32"),
    ],
)
def test_kinds_that_have_no_equal_are_refused_by_name(
    tmp_path: Path, tensor: torch.Tensor, what: str
) -> None:
    torch.save({"fine": torch.ones(1), "the one": tensor}, tmp_path / "x.pt")
    with pytest.raises(ContainerError, match=rf"(the one: .*)?({what})"):
        read(tmp_path / "x.pt")


def test_opening_reads_no_values_and_imports_little(tmp_path: Path) -> None:
    big = tmp_path / "big.pt"
    torch.save({"w": torch.ones(3 << 20)}, big)
    record = zipfile.ZipFile(big).getinfo("big/data/0")
    with open(big, "r+b") as file:
        file.seek(record.header_offset + 4096)
        file.write(b"xxxx")
    checkpoint = read(big)
    with pytest.raises(ContainerError, match=r"big/data/0: damaged: expected CRC-32"):
        checkpoint.tensors["w"].numpy()
    with pytest.raises(ContainerError, match="damaged"):
        write(checkpoint, tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


def test_deflated_records_are_read_right(tmp_path: Path) -> None:
    state = {"w": torch.arange(50_000.0), "v": torch.ones(7)}
    torch.save(state, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as source,
        zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    checkpoint = read(tmp_path / "y.pt")
    assert_same(checkpoint.tensors, state)
    write(checkpoint, tmp_path / "z.pt")
    assert_same(read(tmp_path / "z.pt").tensors, state)


@pytest.mark.parametrize("root", ["", "other/"])
def test_the_root_folder_may_have_any_name(tmp_path: Path, root: str) -> None:
    torch.save({"w": torch.arange(5.0)}, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as source,
        zipfile.ZipFile(tmp_path / "y.pt", "w") as target,
    ):
        for name in source.namelist():
            target.writestr(root + name.removeprefix("x/"), source.read(name))
    assert_same(read(tmp_path / "y.pt").tensors, {"w": torch.arange(5.0)})


def tensor_pickle(offset: int, shape: tuple[int, ...], strides: tuple[int, ...], n: int) -> bytes:
    class Call:
        def __init__(self, module: str, name: str, *args: object) -> None:
            self.text, self.args = (module, name), args

    out = io.BytesIO()

    def number(value: int) -> bytes:
        return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    out.write(b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n(")
    out.write(b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpu" + number(n))
    out.write(b"tQ" + number(offset) + numbers(shape) + numbers(strides) + b"\x89}tRs.")
    return out.getvalue()


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "n"),
    [
        (0, (11,), (1,), 10),
        (1, (10,), (1,), 10),
        (0, (2, 5), (6, 1), 10),
        (0, (3,), (-1,), 10),
        (-1, (3,), (1,), 10),
        (0, (-3,), (1,), 10),
        (0, (1 << 40,), (0,), 10),
        (0, (1 << 20, 1 << 20, 1 << 22), (0, 0, 0), 10),
        (0, (1 << 62, 1 << 62), (0, 0), 10),
        (0, (2, 5), (1,), 10),
        (0, (1,) * 65, (1,) * 65, 10),
        (0, (10,), (1,), 1 << 40),
        (0, (10,), (1,), 9),
        (1 << 61, (10,), (1,), 10),
    ],
)
def test_views_outside_their_storage(
    tmp_path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], n: int
) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as file:
        file.writestr("x/data.pkl", tensor_pickle(offset, shape, strides, n))
        file.writestr("x/data/0", np.arange(10, dtype="<f4").tobytes())
    with pytest.raises(ContainerError, match=r"storage of the wrong size|outside its storage"):
        read(tmp_path / "x.pt")


def test_truncation_anywhere_is_an_error(tmp_path: Path) -> None:
    torch.save(torch.nn.GRU(2, 3).state_dict(), tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    for size in range(0, len(data), 37):
        (tmp_path / "y.pt").write_bytes(data[:size])
        with pytest.raises(ContainerError):
            read(tmp_path / "y.pt")


def test_noise_never_gives_another_error(tmp_path: Path) -> None:
    torch.save(torch.nn.GRU(2, 3).state_dict(), tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    hold_against_noise(read, tmp_path / "y.pt", data, seed=11, rounds=400, flips=4)


def test_a_zip_that_is_no_torch_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(ContainerError, match="not a checkpoint"):
        read(tmp_path / "x.zip")
    assert os.listdir(tmp_path) == ["x.zip"]
