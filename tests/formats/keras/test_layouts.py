"""Layouts of Keras's HDF5 files: Keras and h5py are the oracles for what stands in them."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest

from ckptconv import formats
from ckptconv.errors import ContainerError
from ckptconv.formats.keras import archive as keras_zip
from ckptconv.formats.keras import h5 as hdf5
from ckptconv.formats.keras import sharded as keras_sharded
from ckptconv.io.reader import File
from tests.formats.keras.h5_files import h5, same, values

# --- what Keras writes


def test_legacy_full_model(files, model):
    checkpoint = formats.read(files / "m.h5")
    facts = checkpoint.facts
    assert checkpoint.format == "hdf5"
    assert facts.layout == "legacy"
    assert facts.backend == "torch"
    assert list(facts.weights) == [
        *(layer.name for layer in model.layers),
        "top_level_model_weights",
    ]
    assert facts.weights["dropout"] == ()
    assert facts.config["class_name"] == "Sequential"
    weights = [np.asarray(w.numpy()) for layer in model.layers for w in layer.weights]
    for (name, found), expected in zip(values(checkpoint).items(), weights, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert next(iter(checkpoint.tensors)) == "embedding/m/embedding/embeddings"
    assert set(checkpoint.omitted.values()) == {"optimizer state"}
    assert len(checkpoint.omitted) == len(model.optimizer.variables)


@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras", "s.weights.json"])
def test_weights_layouts(files, model, name):
    checkpoint = formats.read(files / name)
    assert checkpoint.facts.layout == "weights.h5"
    assert checkpoint.facts.names["layers/lstm/cell"] == "lstm_cell"
    assert checkpoint.facts.names["layers/lstm"] == model.layers[2].name
    found = values(checkpoint)
    for path, layer in (("lstm/cell", 2), ("gru/cell", 3), ("batch_normalization", 5)):
        for i, weight in enumerate(model.layers[layer].weights):
            np.testing.assert_array_equal(found[f"layers/{path}/vars/{i}"], weight.numpy())
    assert len(found) == len(model.weights)
    rules = list(checkpoint.omitted.values())
    assert rules.count("optimizer state") == len(model.optimizer.variables)
    assert set(rules) <= {"optimizer state", "state of a random generator"}


def test_keras_zip_has_its_configuration(files):
    checkpoint = formats.read(files / "m.keras")
    assert checkpoint.format == "keras-zip"
    assert checkpoint.facts.config["config"]["name"] == "m"
    assert checkpoint.facts.keras_version.startswith("3.")


def test_damaged_keras_zip_gives_no_value(files, tmp_path):
    path = tmp_path / "x.keras"
    data = bytearray((files / "m.keras").read_bytes())
    with zipfile.ZipFile(files / "m.keras") as archive, archive.open("model.weights.h5") as member:
        at = data.find(member.read(64)) + 5000
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContainerError, match="CRC"):
        values(formats.read(path))


def test_real_files(real):
    paths = [p for p in (real / "keras").glob("*5") if "inputs_and_outputs" not in p.name]
    assert len(paths) > 10
    for path in paths:
        checkpoint = formats.read(path)
        expected = {}
        with h5py.File(path) as file:
            root = file.get("model_weights", file)
            for layer in root.attrs["layer_names"]:
                layer = layer.decode() if isinstance(layer, bytes) else layer
                for name in root[layer].attrs["weight_names"]:
                    name = name.decode() if isinstance(name, bytes) else name
                    expected[f"{layer}/{name}"] = root[layer][name][()]
        same(values(checkpoint), expected)


def test_hdf5_of_something_else(real):
    path = real / "keras" / "dl4j__simple_flatten_lstm_tf_keras_2_inputs_and_outputs.h5"
    with pytest.raises(ContainerError, match="not weights of a Keras model"):
        formats.read(path)


# --- older layouts, by hand


def test_keras_1_names_and_split_attributes(tmp_path):
    layers = [f"layer_{i:05d}_{'x' * 20}" for i in range(3000)]

    def build(file):
        for i, part in enumerate(np.array_split(np.array([s.encode() for s in layers]), 2)):
            file.attrs[f"layer_names{i}"] = part
        for layer in layers:
            file.create_group(layer).attrs["weight_names"] = []
        file[layers[0]].attrs["weight_names"] = [b"w_W_i"]
        file[layers[0]].create_dataset("w_W_i", data=np.arange(6.0).reshape(2, 3))

    checkpoint = formats.read(h5(tmp_path / "m.h5", build))
    assert list(checkpoint.facts.weights) == layers
    same(values(checkpoint), {f"{layers[0]}/w_W_i": np.arange(6.0).reshape(2, 3)})


def test_tensorflow_2_12_root_and_natural_order(tmp_path):
    def build(file):
        for i in (10, 9, 0):
            name = f"_layer_checkpoint_dependencies/lstm_{i}/cell/vars/0"
            file[name] = np.full((2, 8), i + 1, "f4")
        file["metrics/mean/vars/0"] = np.float32(1)
        file["optimizer/vars/0"] = np.int64(1)
        file["layers/dropout/seed_generator/vars/0"] = np.ones(2, "u4")
        file.create_group("vars")

    checkpoint = formats.read(h5(tmp_path / "m.weights.h5", build))
    assert list(checkpoint.tensors) == [f"lstm_{i}/cell/vars/0" for i in (0, 9, 10)]
    assert list(checkpoint.omitted.values()) == [
        "state of a random generator",
        "state of a metric",
        "optimizer state",
    ]


def test_a_layer_called_like_a_generator_keeps_its_weights(tmp_path):
    import keras

    class Twice(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.layers.Dense(4)

        def call(self, x):
            return self.seed_generator(x)

    model = keras.Sequential([keras.Input((5,)), Twice()])
    model.save_weights(tmp_path / "m.weights.h5")
    checkpoint = formats.read(tmp_path / "m.weights.h5")
    paths = [f"layers/twice/seed_generator/vars/{n}" for n in range(2)]
    same(values(checkpoint), dict(zip(paths, model.get_weights(), strict=True)))


def test_attributes_of_numbers_of_any_length_are_no_text(tmp_path):
    def build(file):
        file.attrs["layer_names"] = ["d"]
        group = file.create_group("d")
        group.attrs["weight_names"] = ["k"]
        group["k"] = np.arange(3, dtype="f4")
        rows = np.array([np.arange(200, 203, dtype="i4"), np.ones(1, "i4")], object)
        group.attrs.create("history", rows, dtype=h5py.vlen_dtype(np.int32))
        group.attrs["loss"] = h5py.Empty("f4")

    checkpoint = formats.read(h5(tmp_path / "m.h5", build))
    same(values(checkpoint), {"d/k": np.arange(3, dtype="f4")})


def test_nested_layer_names_and_unlisted_datasets(tmp_path):
    def build(file):
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = ["outer/inner"]
        group.create_group("outer/inner").attrs["weight_names"] = ["rnn_3/kernel:0"]
        group["outer/inner/rnn_3/kernel:0"] = np.arange(3, dtype="f4")
        group["outer/inner/stray"] = np.arange(3, dtype="f4")

    checkpoint = formats.read(h5(tmp_path / "m.h5", build))
    assert list(checkpoint.tensors) == ["outer/inner/rnn_3/kernel:0"]
    assert checkpoint.omitted == {"model_weights/outer/inner/stray": "not in any @weight_names"}


def test_sniffers_know_their_own(files):
    sources = {name: File(files / name) for name in ("m.h5", "m.keras", "s.weights.json")}
    for module, own in ((hdf5, "m.h5"), (keras_zip, "m.keras"), (keras_sharded, "s.weights.json")):
        assert [name for name, source in sources.items() if module.sniff(source)] == [own]
