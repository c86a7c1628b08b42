"""The .ckpt container against MindSpore's own writer and loader."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint, MindSporeFacts
from ckptconv.codecs.protobuf import encode
from ckptconv.errors import ContainerError
from ckptconv.formats import mindspore as mindspore_ckpt
from ckptconv.tensors.tensor import ArrayTensor

ms = pytest.importorskip("mindspore")

ARRAYS = {
    "embedding.embedding_table": np.linspace(-2, 3, 30, dtype="f4").reshape(6, 5),
    "half": np.linspace(-1, 2, 6).astype("f2"),
    "step": np.array(7, "i8"),
    "double": np.linspace(0, 1, 4).reshape(2, 2),
    "mask": np.array([True, False, True]),
    "bytes": np.arange(5, dtype="u1"),
    "网络.weight": np.arange(1, 4, dtype="f4"),
}


def write(path, arrays, **facts):
    tensors = {name: ArrayTensor(array) for name, array in arrays.items()}
    path.touch()
    mindspore_ckpt.write(
        Checkpoint("mindspore-ckpt", tensors, facts=MindSporeFacts(**facts)), str(path)
    )
    return path


def theirs(path, arrays, **options):
    entries = [{"name": name, "data": ms.Tensor(array)} for name, array in arrays.items()]
    ms.save_checkpoint(entries, str(path), **options)
    return path


@pytest.mark.parametrize("crc", [False, True])
def test_written_bytes_are_mindspores(tmp_path, crc):
    ours = write(tmp_path / "ours.ckpt", ARRAYS, crc=crc)
    reference = theirs(tmp_path / "theirs.ckpt", ARRAYS, crc_check=crc)
    assert ours.read_bytes() == reference.read_bytes()
    loaded = ms.load_checkpoint(str(ours), crc_check=crc)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name].asnumpy(), array)


def test_reads_what_mindspore_wrote(tmp_path):
    checkpoint = formats.read(theirs(tmp_path / "a.ckpt", ARRAYS, crc_check=True))
    assert checkpoint.format == "mindspore-ckpt"
    assert list(checkpoint.tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        tensor = checkpoint.tensors[name]
        assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(tensor.numpy(), array)


def test_bfloat16_keeps_its_bits(tmp_path):
    bits = np.arange(0x3F80, 0x3F90, dtype="u2").view(ml_dtypes.bfloat16)
    path = write(tmp_path / "b.ckpt", {"w": bits})
    loaded = ms.load_checkpoint(str(path))["w"]
    assert loaded.dtype == ms.bfloat16
    np.testing.assert_array_equal(loaded.float().asnumpy(), bits.astype("f4"))
    assert formats.read(path).tensors["w"].numpy().tobytes() == bits.tobytes()


def test_slices_join_wherever_they_are_cut(tmp_path, monkeypatch):
    array = np.arange(1, 1001, dtype="f4").reshape(50, 20)
    monkeypatch.setattr(mindspore_ckpt, "SLICE", 1024)
    path = write(tmp_path / "s.ckpt", {"w": array, "v": array[:3]})
    np.testing.assert_array_equal(formats.read(path).tensors["w"].numpy(), array)
    np.testing.assert_array_equal(ms.load_checkpoint(str(path))["w"].asnumpy(), array)


def test_old_scalars_and_append_dict(tmp_path):
    path = theirs(tmp_path / "t.ckpt", {"w": ARRAYS["half"]}, append_dict={"epoch_num": 3})
    record = b"\x0a\x03old\x12" + b"\x12\x08\x00\x12\x05Int32\x1a\x04" + struct.pack("<i", 9)
    record = record[:6] + bytes([len(record) - 7]) + record[7:]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes() + b"\x0a" + bytes([len(record)]) + record)
    checkpoint = formats.read(path)
    assert checkpoint.tensors["old"].shape == ()
    assert checkpoint.tensors["old"].numpy() == 9
    assert checkpoint.tensors["epoch_num"].numpy() == 3


def test_every_truncation_is_refused_or_shorter(tmp_path):
    data = write(tmp_path / "full.ckpt", ARRAYS).read_bytes()
    boundaries = 0
    for size in range(len(data)):
        (tmp_path / "cut.ckpt").write_bytes(data[:size])
        try:
            found = formats.read(tmp_path / "cut.ckpt").tensors
        except ContainerError:
            continue
        assert list(found) == list(ARRAYS)[: len(found)]
        boundaries += 1
    assert boundaries == len(ARRAYS) - 1  # a cut between two records leaves a shorter valid file


def test_every_truncation_is_refused_where_there_is_a_crc(tmp_path):
    data = write(tmp_path / "full.ckpt", ARRAYS, crc=True).read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    (tmp_path / "flipped.ckpt").write_bytes(flipped)
    with pytest.raises(ContainerError, match="CRC does not match"):
        formats.read(tmp_path / "flipped.ckpt")


@pytest.mark.parametrize(
    ("kind", "dims", "content", "message"),
    [
        ("Float32", [4], 12, "expected 16 bytes for Float32 \\(4,\\), found 12 bytes"),
        ("Float32", [1 << 40], 12, "expected 4398046511104 bytes"),
        ("Float32", [2], 12, "found 12 bytes"),
        ("Complex64", [1], 8, "a tensor type that cannot be read"),
    ],
)
def test_content_that_mindspore_would_crash_on(tmp_path, kind, dims, content, message):
    tensor = b"".join(b"\x08" + encode(n) for n in dims)
    tensor += b"\x12" + encode(len(kind)) + kind.encode() + b"\x1a" + encode(content)
    tensor += bytes(content)
    value = b"\x0a\x01w\x12" + encode(len(tensor)) + tensor
    (tmp_path / "lie.ckpt").write_bytes(b"\x0a" + encode(len(value)) + value)
    with pytest.raises(ContainerError, match=message):
        formats.read(tmp_path / "lie.ckpt")


def test_repeated_names_and_encryption(tmp_path):
    one = write(tmp_path / "1.ckpt", {"w": ARRAYS["half"], "v": ARRAYS["half"]}).read_bytes()
    (tmp_path / "twice.ckpt").write_bytes(one + one)
    with pytest.raises(ContainerError, match="w: two parameters of one name"):
        formats.read(tmp_path / "twice.ckpt")
    entries = [{"name": "w", "data": ms.Tensor(ARRAYS["half"])}]
    ms.save_checkpoint(entries, str(tmp_path / "e.ckpt"), enc_key=b"0123456789ABCDEF")
    with pytest.raises(ContainerError, match="an encrypted checkpoint \\(AES-GCM\\)"):
        formats.read(tmp_path / "e.ckpt")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("n" * 1025, np.ones(1, "f4"), "at most 1024 characters, found 1025"),
        ("w", np.ones((0, 3), "f4"), "at least one element"),
        ("w", np.ones(2, "c8"), "a dtype that MindSpore can load, found complex64"),
    ],
)
def test_what_mindspore_cannot_load_is_not_written(tmp_path, name, array, message):
    with pytest.raises(ContainerError, match=message):
        write(tmp_path / "no.ckpt", {name: array})
    assert (tmp_path / "no.ckpt").stat().st_size == 0
