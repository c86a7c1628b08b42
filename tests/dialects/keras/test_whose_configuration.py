"""Configurations that are not the weights' own, or do not say all."""

from __future__ import annotations

import json

import h5py
import keras
import numpy as np
import pytest

import ckptconv

L = keras.layers


def model(*layers):
    return keras.Sequential([keras.Input((5, 3)), *layers])


def test_the_configuration_of_another_model_is_refused(tmp_path):
    own = model(L.LSTM(4, name="a"), L.Dense(2, activation="relu", name="b"))
    own.save_weights(tmp_path / "m.weights.h5")
    other = model(L.GRU(4, name="c"), L.Dense(2, name="d"))
    (tmp_path / "other.json").write_text(other.to_json())
    (tmp_path / "own.json").write_text(own.to_json())
    with pytest.raises(ckptconv.DialectError, match="has no layer for these weights"):
        ckptconv.load(tmp_path / "m.weights.h5", config=tmp_path / "other.json")
    graph = ckptconv.load(tmp_path / "m.weights.h5", config=tmp_path / "own.json")
    assert [layer.path for layer in graph] == ["a", "b"]


def test_a_weight_of_the_model_itself_is_refused_as_such(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(3)
            self.scale = self.add_weight(shape=(4,), name="scale")

        def call(self, x):
            return self.dense(x * self.scale)

    own = Own()
    own(np.ones((2, 4), "f4"))
    own.save_weights(tmp_path / "own.weights.h5")
    with pytest.raises(ckptconv.DialectError, match="vars/0: a weight of the model itself"):
        ckptconv.load(tmp_path / "own.weights.h5")


@keras.saving.register_keras_serializable("own")
class Halves(L.Layer):
    """Two attributes that are called as a Bidirectional's, and are none."""

    def __init__(self, **options):
        super().__init__(**options)
        self.forward_layer, self.backward_layer = L.Dense(2), L.Dense(2)

    def call(self, x):
        return self.forward_layer(x) + self.backward_layer(x)


@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_attributes_called_as_halves_are_layers_of_their_own(tmp_path, suffix):
    own = model(Halves(name="own"))
    (own.save if suffix == ".keras" else own.save_weights)(tmp_path / f"m{suffix}")
    graph = ckptconv.load(tmp_path / f"m{suffix}")
    assert {layer.kind for layer in graph} == {"Linear"}
    ends = {tuple(layer.path.split(".")) for layer in graph}
    assert {end for _, end in ends} == {"forward_layer", "backward_layer"}
    assert all(start for start, _ in ends)


@keras.saving.register_keras_serializable("own")
class OwnCell(L.GRUCell):
    pass


def test_a_cell_of_ones_own_is_refused_with_the_kind_that_it_may_be(tmp_path):
    model(L.RNN(OwnCell(4), name="r")).save(tmp_path / "m.h5")
    with pytest.raises(ckptconv.LossyError, match=r"own>OwnCell has no equal.*'r': 'GRU'"):
        ckptconv.load(tmp_path / "m.h5")
    assert ckptconv.load(tmp_path / "m.h5", kinds={"r": "GRU"})["r"].kind == "GRU"


def test_an_operation_of_tf_keras_gives_axes_that_nobody_knows(tmp_path):
    """reduce_mean takes one away: axis 1 is the last one then, and not one before."""
    names = ["given", "mean", "norm"]
    settings = [
        {"batch_input_shape": [None, 5, 8], "dtype": "float32"},
        {"trainable": True, "dtype": "float32", "function": "math.reduce_mean"},
        {"trainable": True, "axis": [1], "epsilon": 0.001, "center": True, "scale": True},
    ]
    calls = [[], [["given", 0, 0, {"axis": 1}]], [[["mean", 0, 0, {}]]]]
    classes = ["InputLayer", "TFOpLambda", "LayerNormalization"]
    layers = [
        {"class_name": c, "name": n, "config": {"name": n, **s}, "inbound_nodes": i}
        for c, n, s, i in zip(classes, names, settings, calls, strict=True)
    ]
    ends = {"input_layers": [["given", 0, 0]], "output_layers": [["norm", 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "m", "layers": layers, **ends}}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array(names, "S")
        group.attrs["keras_version"] = b"2.12.0"
        for name in names:
            weights = ["norm/gamma:0", "norm/beta:0"] if name == "norm" else []
            group.create_group(name).attrs["weight_names"] = np.array(weights, "S")
        group["norm/norm/gamma:0"], group["norm/norm/beta:0"] = np.ones(8, "f4"), np.ones(8, "f4")
    (norm,) = ckptconv.load(tmp_path / "m.h5")
    assert norm.kind == "LayerNorm"
    assert norm.assumed == {"axis": (-1,)}
