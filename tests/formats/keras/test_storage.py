"""Values in HDF5 as h5py stores them: each dtype, filter and place."""

from __future__ import annotations

import h5py
import ml_dtypes
import numpy as np
import pytest

from ckptconv import formats
from tests.formats.keras.h5_files import h5, legacy, same, values


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (3, 4)},
        {"chunks": (3, 4), "compression": "gzip"},
        {"chunks": (4, 5), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (7, 2), "compression": "lzf", "shuffle": True},
        {"chunks": (2, 2), "fletcher32": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8", "|u1"])
@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108")], ids=["earliest", "v108"])
def test_storage(tmp_path, options, dtype, libver):
    array = np.repeat(np.arange(35), 3).reshape(7, 15).astype(dtype)
    path = legacy(tmp_path / "m.h5", {"w": {"data": array, **options}}, libver=libver)
    tensor = formats.read(path).tensors["a/w"]
    assert tensor.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(tensor.numpy(), array)
    np.testing.assert_array_equal(tensor.read(((2, 5), (3, 11))), array[2:5, 3:11])
    assert (tensor.extents() is None) == (bool(options) or dtype.startswith(">"))


def test_lzf_of_what_compresses_badly_and_well(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"r": rng.bytes(5000), "z": bytes(5000), "m": rng.bytes(700) * 7 + bytes(100)}
    arrays = {name: np.frombuffer(raw, "u1") for name, raw in arrays.items()}
    weights = {n: {"data": a, "chunks": (1000,), "compression": "lzf"} for n, a in arrays.items()}
    found = values(formats.read(legacy(tmp_path / "m.h5", weights)))
    same(found, {f"a/{name}": array for name, array in arrays.items()})


def test_scalars_empty_arrays_compact_and_bfloat16(tmp_path):
    bfloat16 = np.arange(1, 7, dtype=ml_dtypes.bfloat16).reshape(2, 3)

    def build(file):
        file.create_group("vars")
        file["layers/a/vars/0"] = np.float32(3)
        file["layers/a/vars/1"] = np.empty((0, 3), "f4")
        file.create_dataset("layers/a/vars/2", data=bfloat16.view("V2"))
        file["layers/a/vars/2"].attrs["dtype"] = "bfloat16"
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        kind = h5py.h5t.NATIVE_DOUBLE
        made = h5py.h5d.create(file["layers/a/vars"].id, b"3", kind, space, creation)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3.0))

    found = values(formats.read(h5(tmp_path / "m.h5", build, userblock_size=1024)))
    expected = [np.float32(3), np.empty((0, 3), "f4"), bfloat16, np.arange(3.0)]
    same(found, {f"layers/a/vars/{i}": np.asarray(e) for i, e in enumerate(expected)})


@pytest.mark.parametrize("count", [9, 40, 300])
def test_dense_storage(tmp_path, count):
    """Nine members of which one's name is not ASCII stand in a fractal heap, as in Keras's own."""
    arrays = {f"größe_{i}": np.arange(i + 1.0) for i in range(count)}

    def build(file):
        file.create_group("vars")
        for name, array in arrays.items():
            file.create_group(name).create_dataset("vars/0", data=array)
            if count < 50:
                file["vars"].attrs[name] = "text"

    for libver in ("earliest", ("v108", "v108")):
        read = formats.read(h5(tmp_path / f"{libver[0]}.h5", build, libver=libver))
        found = {name.split("/")[0]: tensor.numpy() for name, tensor in read.tensors.items()}
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())
