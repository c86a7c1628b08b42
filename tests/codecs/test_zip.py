"""The zip directory: right members read right, every lie refused; zipfile is the oracle."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from ckptconv.codecs.zip import directory as zip_directory
from ckptconv.codecs.zip.reader import Archive
from ckptconv.codecs.zip.writer import ZipWriter
from ckptconv.errors import ContainerError
from ckptconv.io.reader import File
from ckptconv.tensors.dtypes import of
from ckptconv.tensors.tensor import ArrayTensor, FileTensor
from ckptconv.tensors.writer import open_sink
from tests.noise import hold_against_noise

MEMBERS = {"a/data.pkl": b"pickle" * 50, "a/data/0": bytes(range(256)) * 9, "a/empty": b""}


def zipped(folder: Path, **options: int) -> Path:
    path = folder / "file.zip"
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in MEMBERS.items():
            file.writestr(name, data)
    return path


def patched(path: Path, offset: int, data: bytes) -> Path:
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(data)] = data
    path.write_bytes(raw)
    return path


def read_all(path: Path) -> dict[str, bytes]:
    members = Archive(File(path))
    return {name: members.read(name) for name in members.records}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_what_zipfile_wrote(tmp_path: Path, method: int) -> None:
    assert read_all(zipped(tmp_path, compression=method)) == MEMBERS


def test_zip64_and_streamed_members(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as file:  # not seekable: data descriptors
        for name, data in MEMBERS.items():
            with file.open(name, "w", force_zip64=True) as member:
                member.write(data)
    (tmp_path / "x").write_bytes(pipe.data)
    assert read_all(tmp_path / "x") == MEMBERS


def test_a_stored_member_is_a_window(tmp_path: Path) -> None:
    members = Archive(File(zipped(tmp_path)))
    member = members.member("a/data/0")
    assert members.member("a/data/0") is member
    tensor = FileTensor(member, 2, (3, 5), of("<i2"))
    np.testing.assert_array_equal(
        tensor.numpy(), np.frombuffer(MEMBERS["a/data/0"], "<i2")[1:16].reshape(3, 5)
    )
    assert tensor.extents() == FileTensor(member, 2, (15,), of("<i2")).extents()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_flipped_bit_of_a_payload_is_noticed(tmp_path: Path, method: int) -> None:
    path = zipped(tmp_path, compression=method)
    record = Archive(File(path)).records["a/data/0"]
    start = record.header + 30 + len("a/data/0")
    for offset in range(start, start + record.packed, 7):
        original = path.read_bytes()[offset : offset + 1]
        patched(path, offset, bytes([original[0] ^ 4]))
        with pytest.raises(ContainerError, match="a/data/0"):
            Archive(File(path)).read("a/data/0")
        patched(path, offset, original)
    assert read_all(path) == MEMBERS


WAYS = {
    "whole": lambda member: member.read(0, member.size),
    "part": lambda member: member.read(10, 40),
    "runs": lambda member: member.read_runs(np.empty((2, 8), np.uint8), [16, 200]),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_reading_checks_the_whole_member(tmp_path: Path, way: str) -> None:
    path = zipped(tmp_path)
    WAYS[way](Archive(File(path)).member("a/data/0"))
    at = Archive(File(path)).records["a/data/0"].header + 30 + len("a/data/0") + 1000
    patched(path, at, b"\xff")
    with pytest.raises(ContainerError, match="a/data/0: damaged: expected CRC-32"):
        WAYS[way](Archive(File(path)).member("a/data/0"))


@pytest.mark.parametrize("size", [3000, 3 << 20])
def test_a_copy_checks_the_member(tmp_path: Path, size: int) -> None:
    data = np.random.default_rng(1).bytes(size)
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("t", data)
    for damage in (False, True):
        if damage:
            patched(path, size // 2, bytes([path.read_bytes()[size // 2] ^ 1]))
        tensor = FileTensor(Archive(File(path)).member("t"), 0, (size,), of("u1"))
        for crc in (None, 0):
            out = tmp_path / "out"
            out.write_bytes(b"")
            with open_sink(str(out)) as sink:
                if damage:
                    with pytest.raises(ContainerError, match="t: damaged"):
                        sink.write_tensor(tensor, crc=crc)
                    continue
                assert sink.write_tensor(tensor, crc=crc) == (zlib.crc32(data) if crc == 0 else 0)
            if not damage:
                assert out.read_bytes() == data


def test_crc_zero_means_not_computed(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    raw = path.read_bytes()
    crc = struct.pack("<L", zlib.crc32(MEMBERS["a/data/0"]))
    assert raw.count(crc) == 2
    path.write_bytes(raw.replace(crc, bytes(4)))
    assert Archive(File(path)).read("a/data/0") == MEMBERS["a/data/0"]


def test_duplicate_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a", b"2")
    with pytest.raises(ContainerError, match="expected distinct names, found 'a' twice"):
        Archive(File(path))


@pytest.mark.parametrize(
    ("offset", "data"), [(8, b"\x08"), (14, b"x"), (18, b"x"), (22, b"x"), (30, b"b"), (0, b"X")]
)
def test_a_lying_local_header_is_refused(tmp_path: Path, offset: int, data: bytes) -> None:
    path = patched(zipped(tmp_path), offset, data)
    with pytest.raises(ContainerError, match="local header does not agree"):
        Archive(File(path)).member("a/data.pkl")


def test_overlapping_members_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    raw = path.read_bytes()
    second = raw.index(b"PK\1\2", raw.index(b"PK\1\2") + 1)
    patched(path, second + 42, struct.pack("<L", 40))
    with pytest.raises(ContainerError, match="overlap"):
        Archive(File(path))
    patched(zipped(tmp_path), 28, struct.pack("<H", 290))  # a longer local extra field
    with pytest.raises(ContainerError, match="overlap"):
        Archive(File(path)).member("a/data.pkl")


def test_encrypted_and_unknown_methods_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    central = path.read_bytes().index(b"PK\1\2")
    patched(patched(path, 6, b"\1"), central + 8, b"\1")
    with pytest.raises(ContainerError, match="encrypted"):
        Archive(File(path)).member("a/data.pkl")
    path = zipped(tmp_path, compression=zipfile.ZIP_LZMA)
    with pytest.raises(ContainerError, match="method 14"):
        Archive(File(path)).member("a/data.pkl")


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("b", "w") as member,
    ):
        for _ in range(26):
            member.write(bytes(10 << 20))
    with pytest.raises(ContainerError, match="once inflated"):
        Archive(File(path))


def test_a_deflated_member_that_is_longer_than_declared(tmp_path: Path) -> None:
    path = zipped(tmp_path, compression=zipfile.ZIP_DEFLATED)
    raw = path.read_bytes()
    size = struct.pack("<L", len(MEMBERS["a/data/0"]))
    assert raw.count(size) == 2
    path.write_bytes(raw.replace(size, struct.pack("<L", 100)))
    with pytest.raises(ContainerError, match="found more bytes"):
        Archive(File(path)).read("a/data/0")


def test_truncation_anywhere_is_an_error(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    raw = path.read_bytes()
    for size in range(0, len(raw), 3):
        path.write_bytes(raw[:size])
        with pytest.raises(ContainerError):
            read_all(path)


def test_noise_never_gives_another_error(tmp_path: Path) -> None:
    path = zipped(tmp_path, compression=zipfile.ZIP_DEFLATED)
    hold_against_noise(read_all, path, path.read_bytes(), seed=7, rounds=600, flips=3)


def test_a_directory_that_declares_too_much(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    end = path.read_bytes().rindex(b"PK\5\6")
    patched(path, end + 10, struct.pack("<H", 9))
    with pytest.raises(ContainerError, match="9 directory entries"):
        Archive(File(path))
    assert zip_directory.MAX_RECORDS < 1 << 20


@pytest.mark.parametrize("large", [0xFFFFFFFF, 100])
def test_the_writer_is_readable_aligned_and_reproducible(tmp_path: Path, large: int) -> None:
    array = np.arange(7000, dtype="<f4") + 1
    paths = [tmp_path / name for name in ("one", "two")]
    for path in paths:
        path.write_bytes(b"")
        with open_sink(str(path)) as sink:
            writer = ZipWriter(sink, large)
            writer.add("a/first", b"text")
            writer.add_tensor("a/second", ArrayTensor(array))
            writer.close()
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with zipfile.ZipFile(paths[0]) as file:
        assert file.testzip() is None
        assert file.read("a/second") == array.tobytes()
    members = Archive(File(paths[0]))
    assert members.read("a/second") == array.tobytes()
    assert members.member("a/second").base % 64 == 0
    assert os.path.getsize(paths[0]) < array.nbytes + 600
