"""HDF5 files that lie, loop, point elsewhere or are damaged: one error each."""

from __future__ import annotations

import contextlib
import random

import h5py
import numpy as np
import pytest

from ckptconv import formats
from ckptconv.errors import CkptconvError, ContainerError
from ckptconv.formats.keras import h5 as hdf5
from ckptconv.io.reader import File
from tests.formats.keras.h5_files import h5, legacy, values


def external_link(file):
    file["a/w"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file):
    file["a/w"] = h5py.SoftLink("/a/w")


def hard_cycle(file):
    file["a/w"] = file["a"]


def external_storage(file):
    file["a"].create_dataset("w", (64,), "u1", external=[("/etc/passwd", 0, 64)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file["a"].create_virtual_dataset("w", layout)


def huge_chunked(file):
    file["a"].create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))


def huge_contiguous(file):
    file["a"].create_dataset("w", (1 << 20, 1 << 20), "f4")


def null_space(file):
    file["a"].create_dataset("w", data=h5py.Empty("f4"))


def text_values(file):
    file["a"].create_dataset("w", data=[b"abc", b"d"])


def compound_values(file):
    file["a"].create_dataset("w", data=np.zeros(3, [("x", "f4"), ("y", "i4")]))


def enumerated_values(file):
    file["a"].create_dataset("w", data=np.array([True, False]))


def unknown_filter(file):
    file["a"].create_dataset("w", data=np.zeros(8, "i4"), chunks=(4,), scaleoffset=2)


def group_instead(file):
    file["a"].create_group("w")


def missing(_):
    pass


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (external_link, "a/w: links are not followed.*external link"),
        (soft_link, "a/w: links are not followed.*soft link"),
        (hard_cycle, "contains itself"),
        (external_storage, "a/w: .*external storage"),
        (virtual, "a/w: .*virtual"),
        (huge_chunked, "a/w: .*expected 1048576 chunks, found 0"),
        (huge_contiguous, "a/w: .*never written"),
        (null_space, "a/w: .*null dataspace"),
        (text_values, "a/w: .*found .*variable-length"),
        (compound_values, "a/w: .*compound"),
        (enumerated_values, "a/w: .*enumeration"),
        (unknown_filter, r"a/w: .*expected filters among \[1, 2, 3, 32000\], found \[6\]"),
        (group_instead, "a/w: .*expected one dataset, found none"),
        (missing, "a/w: .*expected one dataset, found none"),
    ],
)
@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108")], ids=["earliest", "v108"])
def test_attacks(tmp_path, build, expected, libver):
    libver = libver if build is not virtual else "earliest"  # which stands for the latest there

    def both(file):
        file.attrs["layer_names"] = ["a"]
        file.create_group("a").attrs["weight_names"] = ["w"]
        build(file)

    with pytest.raises(ContainerError, match=expected):
        formats.read(h5(tmp_path / "m.h5", both, libver=libver))


def test_later_formats_are_refused_by_name(tmp_path):
    """Keras writes the earliest format; what h5py writes on request needs other structures."""

    def build(file):
        file.create_group("vars")
        file.create_dataset("layers/lstm/vars/0", data=np.ones(9), chunks=(2,))

    with pytest.raises(ContainerError, match="indexed in a way that is not read"):
        formats.read(h5(tmp_path / "m.h5", build, libver="latest"))


def test_damaged_dense_storage_is_one_error(tmp_path):
    def build(file):
        file.create_group("vars")
        for i in range(20):
            file.create_group(f"größe_{i}").create_dataset("vars/0", data=np.ones(2))

    path = h5(tmp_path / "m.h5", build)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(3)
    places = [data.index(mark) + 4 for mark in (b"FRHP", b"BTHD", b"BTLF", b"FHDB")]
    for at in [place + int(n) for place in places for n in rng.integers(0, 60, 12)]:
        changed = data.copy()
        changed[at] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        with contextlib.suppress(ContainerError):
            formats.read(path)


def test_declared_size_beyond_the_file(tmp_path):
    path = legacy(tmp_path / "m.h5", {"w": np.arange(1.0, 5.0)})
    data = path.read_bytes()
    size = (4).to_bytes(8, "little") * 2  # of the dataspace: now and at most
    assert size in data
    path.write_bytes(data.replace(size, (1 << 40).to_bytes(8, "little") * 2))
    with pytest.raises(ContainerError, match=r"a/w: .*expected 8796093022208 bytes, found 32"):
        formats.read(path)


def test_broken_checksum_is_noticed(tmp_path):
    array = np.arange(1000, 1064, dtype="<u4")
    path = legacy(tmp_path / "m.h5", {"w": {"data": array, "chunks": (64,), "fletcher32": True}})
    data = path.read_bytes()
    at = data.index(array.tobytes())
    path.write_bytes(data[: at + 8] + b"\xff" + data[at + 9 :])
    with pytest.raises(ContainerError, match=r"a/w: .*wrong checksum"):
        values(formats.read(path))


@pytest.mark.parametrize(
    "config", [b"not json", b"[1]", b'{"a":' * 101 + b"1" + b"}" * 101, b"[" * 50000]
)
def test_strange_model_config(tmp_path, config):
    path = legacy(tmp_path / "m.h5", {"w": np.ones(2)})
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = config
    with pytest.raises(ContainerError, match="model_config"):
        formats.read(path)


def test_truncated_at_every_hundredth_byte(files):
    data = (files / "m.weights.h5").read_bytes()
    for size in range(0, len(data), 100):
        path = files / "truncated.h5"
        path.write_bytes(data[:size])
        with pytest.raises(ContainerError):
            formats.read(path)


@pytest.mark.parametrize("name", ["m.h5", "m.weights.h5", "chunked.h5"])
def test_mutated_bytes(files, name):
    """libhdf5 crashes or hangs on about one in a thousand of such files."""
    if name == "chunked.h5":
        options = {"chunks": (3, 4), "compression": "gzip", "shuffle": True}
        legacy(files / name, {"w": {"data": np.arange(105.0).reshape(7, 15), **options}})
    data = (files / name).read_bytes()
    used = [i for i, byte in enumerate(data) if byte]
    path = files / "mutated.h5"
    outcomes, messages = set(), []
    for seed in range(300):
        rng = random.Random(seed)
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            mutated[rng.choice(used)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(mutated)
        try:
            values(hdf5.read(File(path)))
            outcomes.add("read")
        except CkptconvError as error:
            outcomes.add("refused")
            messages.append(str(error))
    assert all(message.startswith(str(path)) for message in messages)
    assert outcomes == {"read", "refused"}
