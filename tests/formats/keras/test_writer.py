"""What is written as HDF5: Keras loads it, h5py reads it."""

from __future__ import annotations

import h5py
import ml_dtypes
import numpy as np
import pytest

import ckptconv
from ckptconv import formats
from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.errors import ContainerError
from ckptconv.tensors.tensor import ArrayTensor
from tests.formats.keras.h5_files import same, values


@pytest.mark.parametrize("name", ["m.h5", "m.weights.h5"])
def test_keras_loads_what_is_written(files, model, name):
    import keras

    checkpoint = formats.read(files / name)
    formats.write(checkpoint, files / f"o_{name}", force=True)
    again = formats.read(files / f"o_{name}")
    same(values(again), values(checkpoint))
    other = keras.models.clone_model(model)
    other.set_weights([np.zeros(w.shape) for w in other.weights])
    other.load_weights(files / f"o_{name}")
    for weight, expected in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())


def test_same_bytes_each_time(files):
    checkpoint = formats.read(files / "m.h5")
    for name in ("1.h5", "2.h5"):
        formats.write(checkpoint, files / name, force=True)
    assert (files / "1.h5").read_bytes() == (files / "2.h5").read_bytes()
    with h5py.File(files / "1.h5") as file:
        dataset = file["dense/m/dense/kernel"]
        assert h5py.h5g.get_objinfo(dataset.id).mtime == 0


def test_long_lists_are_split_as_keras_does(tmp_path):
    from keras.src.legacy.saving import legacy_h5_format

    layers = [f"layer_{i}_{'y' * 60}" for i in range(2000)]
    tensors = {f"{layer}/w": ArrayTensor(np.float32([i])) for i, layer in enumerate(layers)}
    facts = KerasFacts("legacy", weights=dict.fromkeys(layers, ("w",)))
    checkpoint = Checkpoint("hdf5", tensors, facts=facts)
    formats.write(checkpoint, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file, h5py.File(tmp_path / "k.h5", "w") as theirs:
        assert legacy_h5_format.load_attributes_from_hdf5_group(file, "layer_names") == layers
        encoded = [layer.encode() for layer in layers]
        legacy_h5_format.save_attributes_to_hdf5_group(theirs, "layer_names", encoded)
        assert {k for k in file.attrs if k.startswith("layer_names")} == set(theirs.attrs)
    same(values(formats.read(tmp_path / "m.h5")), values(checkpoint))


@pytest.mark.parametrize("layout", ["legacy", "weights.h5"])
def test_dtypes_written(tmp_path, layout):
    arrays = [np.arange(1, 5, dtype=d) for d in ("f2", "f4", "f8", "i4")]
    arrays += [np.float32(2), np.empty((0, 2), "f4")]
    arrays += [np.arange(1, 5, dtype=ml_dtypes.bfloat16)] if layout == "weights.h5" else []
    prefix = "a/w" if layout == "legacy" else "layers/a/vars/"
    names = [f"{prefix}{i}" for i in range(len(arrays))]
    tensors = {n: ArrayTensor(np.asarray(a)) for n, a in zip(names, arrays, strict=True)}
    weights = {"a": tuple(n.removeprefix("a/") for n in names)}
    facts = KerasFacts(layout, weights=weights, names={"layers/a": "mine"})
    checkpoint = Checkpoint("hdf5", tensors, facts=facts)
    formats.write(checkpoint, tmp_path / "m.h5")
    again = formats.read(tmp_path / "m.h5")
    same(values(again), values(checkpoint))
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file[names[1]][()], arrays[1])
        assert layout == "legacy" or file[names[-1]].attrs["dtype"] == "bfloat16"


def test_bfloat16_is_written_where_keras_loads_it(tmp_path):
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    model = keras.Sequential([keras.layers.Dense(2, dtype="bfloat16", name="out")])
    model.build((None, 3))
    kernel, bias = np.arange(1, 7).reshape(3, 2) / 3, np.array([5, 7]) / 3
    model.set_weights([a.astype(ml_dtypes.bfloat16) for a in (kernel, bias)])
    model.save_weights(tmp_path / "m.weights.h5")
    graph = ckptconv.load(tmp_path / "m.weights.h5", kinds={"out": "Linear"})
    ckptconv.save(graph, tmp_path / "n.weights.h5", to="keras")
    with pytest.raises(ContainerError, match=r"loads no bfloat16.*try dtype='float32' or a targ"):
        ckptconv.save(graph, tmp_path / "n.h5", to="keras")
    ckptconv.save(graph, tmp_path / "m.h5", to="keras", dtype="float32")
    for name in ("n.weights.h5", "m.h5"):
        model.set_weights([np.zeros((3, 2)), np.zeros(2)])
        model.load_weights(tmp_path / name)
        for found, meant in zip(model.get_weights(), (kernel, bias), strict=True):
            np.testing.assert_array_equal(found.astype("f4"), meant.astype(ml_dtypes.bfloat16))
    with h5py.File(tmp_path / "k.h5", "w") as file:  # nor does Keras load what it writes itself
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    with pytest.raises(ValueError, match="Invalid dtype"):
        model.load_weights(tmp_path / "k.h5")


@pytest.mark.parametrize("dtype", [np.complex64, ml_dtypes.float8_e5m2])
def test_dtypes_not_written(tmp_path, dtype):
    tensors = {"layers/a/vars/0": ArrayTensor(np.ones(3, dtype))}
    checkpoint = Checkpoint("hdf5", tensors, facts=KerasFacts("weights.h5"))
    with pytest.raises(
        ContainerError, match=r"layers/a/vars/0: cannot stand in an HDF5 file.* try drop="
    ):
        formats.write(checkpoint, tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


def test_a_tensor_of_no_layer_is_not_written(tmp_path):
    checkpoint = Checkpoint("hdf5", {"x": ArrayTensor(np.ones(2))}, facts=KerasFacts("legacy"))
    with pytest.raises(ContainerError, match="x: belongs to no layer"):
        formats.write(checkpoint, tmp_path / "m.h5")
