"""What weights of Keras cannot say or torch has no equal of: refused, or noted."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ckptconv
from ckptconv import CkptconvError
from tests.conftest import ROOT
from tests.networks import FEATURES, STEPS


def saved(tmp_path, layer, shape=(STEPS, FEATURES)):
    import keras

    model = keras.Sequential([keras.Input(shape), layer])
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


@pytest.mark.parametrize(
    ("build", "shape", "words"),
    [
        (
            lambda k: k.LSTM(3, activation="relu"),
            (STEPS, 5),
            "activation relu .*allow=..relu",
        ),
        (lambda k: k.LSTM(3, recurrent_activation="hard_sigmoid"), (STEPS, 5), "hard_sigmoid"),
        (lambda k: k.SimpleRNN(3, activation="sigmoid"), (STEPS, 5), "expected tanh or relu"),
        (lambda k: k.GRU(3, reset_after=False), (STEPS, 5), "reset_after=False"),
        (lambda k: k.GRU(3, reset_after=False, use_bias=False), (STEPS, 5), "reset_after=False"),
        (lambda k: k.ConvLSTM1D(3, 2), (4, 6, 5), "ConvLSTM1D has no equal"),
        (lambda k: k.Bidirectional(k.GRU(3), merge_mode="ave"), (STEPS, 5), "merge_mode ave"),
        (
            lambda k: k.Bidirectional(k.GRU(3), backward_layer=k.LSTM(3, go_backwards=True)),
            (STEPS, 5),
            "different kinds",
        ),
        (lambda k: k.PReLU(), (STEPS, 5), "PReLU with a slope for each place"),
    ],
)
def test_refused(tmp_path, build, shape, words):
    import keras

    with pytest.raises(CkptconvError, match=words):
        ckptconv.load(saved(tmp_path, build(keras.layers), shape))


def test_allowed_activation_is_noted(tmp_path):
    import keras

    path = saved(tmp_path, keras.layers.LSTM(3, recurrent_activation="hard_sigmoid", name="a"))
    report = ckptconv.convert(path, tmp_path / "m.pt", to="torch", allow=["hard_sigmoid"])
    assert any("hard_sigmoid was taken for sigmoid" in note for note in report.layers[0].notes)


def test_numbered_weights_of_an_unknown_class(tmp_path):
    import h5py

    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        file["layers/mine/vars/0"] = np.ones((2, 3, 4, 5, 6, 7), "f4")
        file["layers/mine/vars/1"] = np.ones((2, 3), "f4")
        file.create_group("vars")
    with pytest.raises(CkptconvError, match=r"nothing tells which layer.*'mine': 'Parameter'}"):
        ckptconv.load(tmp_path / "m.weights.h5")
    kept = ckptconv.load(tmp_path / "m.weights.h5", kinds={"min*": "Parameter"})
    assert [layer.path for layer in kept] == ["mine.0", "mine.1"]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(5, 16), (4, 16), (16,), (16,)], "2 or 3 weights"),
        ([(5, 16), (4, 16), (12,)], r"a bias of \(16,\)"),
        ([(5, 12), (4, 16)], "of a LSTM"),
        ([(5, 16), (4, 15)], "LSTM, GRU or SimpleRNN"),
        ([(5, 12), (4, 12)], "reset_after: it has no bias"),
    ],
)
def test_wrong_shapes(tmp_path, shapes, words):
    import h5py

    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for i, shape in enumerate(shapes):
            file[f"layers/lstm/cell/vars/{i}"] = np.ones(shape, "f4")
    with pytest.raises(CkptconvError, match=words):
        ckptconv.load(tmp_path / "m.weights.h5")


def test_the_configuration_beside_weights_tells_what_they_do_not(tmp_path):
    import keras

    model = keras.Sequential([keras.layers.GRU(4, use_bias=False, reset_after=True, name="gru")])
    model.build((None, 3, 5))
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    with pytest.raises(CkptconvError, match=r"reset_after.*; or config=.model.json.; that is"):
        ckptconv.load(tmp_path / "m.weights.h5")
    (layer,) = ckptconv.load(tmp_path / "m.weights.h5", config=tmp_path / "model.json")
    assert layer.kind == "GRU"


def test_real_files(real):
    expected = json.loads((ROOT / "tests" / "real_keras.json").read_text())
    for name, said in expected.items():
        try:
            graph = ckptconv.load(real / "keras" / name)
            found = " ".join(f"{layer.path}:{layer.kind}" for layer in graph)
        except CkptconvError as error:
            found = str(error)
        assert said in found, name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"go_backwards": True}, "reverse the input along time"),
        ({"stateful": True}, "final state"),
        ({"dropout": 0.5}, "this layer's input"),
        ({"recurrent_dropout": 0.5}, "in training only"),
        ({"return_sequences": False}, "last step"),
    ],
)
def test_settings_that_weights_cannot_carry_are_noted(tmp_path, options, words):
    import keras

    layer = keras.layers.LSTM(3, **{"return_sequences": True, **options})
    model = keras.Sequential([keras.Input((STEPS, FEATURES), batch_size=1), layer])
    model.save(tmp_path / "m.keras")
    notes = ckptconv.load(tmp_path / "m.keras").layers[0].notes
    assert len(notes) == 1
    assert words in notes[0]


def test_epsilon_momentum_and_activation_of_other_layers(tmp_path):
    import keras

    layers = keras.layers
    model = keras.Sequential([
        keras.Input((STEPS, FEATURES)),
        layers.Dense(3, activation="relu", name="a"),
        layers.BatchNormalization(epsilon=0.25, momentum=0.75, scale=False, name="b"),
        layers.LayerNormalization(epsilon=0.5, name="c"),
    ])  # fmt: skip
    model.save(tmp_path / "m.keras")
    graph = ckptconv.load(tmp_path / "m.keras")
    assert graph["a"].notes == ("activation: apply relu to this layer's output",)
    moments = {"eps": 0.25, "momentum": 0.25, "data_format": "channels_last"}
    assert graph["b"].attributes == moments
    assert graph["c"].attributes == {"eps": 0.5}
    np.testing.assert_array_equal(graph["b"].params["weight"].numpy(), np.ones(3, "f4"))


CELL = {"kernel": (5, 16), "recurrent_kernel": (4, 16), "bias": (16,)}
BARE = {name: shape for name, shape in CELL.items() if name != "bias"}
CONV = {"kernel": (3, 5, 16), "recurrent_kernel": (3, 4, 16), "bias": (16,)}


def weights_only(path, cells):
    """Write scope → {leaf: shape} as one layer, in the layout that the suffix asks for."""
    import h5py

    with h5py.File(path, "w") as file:
        names = []
        for scope, weights in cells.items():
            for i, (leaf, shape) in enumerate(weights.items()):
                values = np.random.default_rng(i).normal(size=shape).astype("f4")
                if path.name.endswith(".weights.h5"):
                    file[f"layers/{scope}/vars/{i}"] = values
                else:
                    names.append(f"rnn/{scope}/{leaf}:0".encode())
                    file[f"rnn/rnn/{scope}/{leaf}:0"] = values
        if names:
            file.attrs["layer_names"] = np.array([b"rnn"])
            file["rnn"].attrs["weight_names"] = np.array(names)
    return path


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("m.h5", {"conv_lstm1d_cell": CONV}, "rnn: a convolutional LSTM has no equal"),
        ("m.weights.h5", {"conv_lstm1d/cell": CONV}, r"conv_lstm1d: a conv.*found \(3, 4, 16\)"),
        ("m.h5", {"forward_a": CELL, "backward_a": BARE}, "bias_ih_l0_reverse.*found nothing"),
        (
            "m.weights.h5",
            {"bidirectional/forward_layer/cell": CELL, "bidirectional/backward_layer/cell": BARE},
            r"bidirectional\.bias_ih_l0_reverse.*expected \(16,\), found nothing",
        ),
        (
            "m.weights.h5",
            {"bidirectional/forward_layer/cell": BARE, "bidirectional/backward_layer/cell": CELL},
            r"bidirectional\.bias_ih_l0: .*expected \(16,\), found nothing",
        ),
        ("m.weights.h5", {"bidirectional/forward_layer/cell": CELL}, "incomplete Bidirectional"),
        ("m.h5", {"lstm_cell": {**CELL, "peephole": (4,)}}, "rnn.*recurrent_kernel and bias alone"),
        ("m.h5", {"lstm_cell": {"recurrent_kernel": (4, 16)}}, "rnn.*kernel and recurrent_kernel"),
        ("m.h5", {"gru_cell": {"kernel": (5, 12), "recurrent_kernel": (4, 12), "bias": (12,)}},
         r"rnn: GRU with reset_after=False.*expected a bias of \(2, 12\)"),
    ],
)  # fmt: skip
def test_refused_from_weights_alone(tmp_path, name, cells, words):
    with pytest.raises(CkptconvError, match=words):
        ckptconv.load(weights_only(tmp_path / name, cells))


def test_what_no_layer_holds_is_kept_as_it_is_where_the_advice_is_typed(tmp_path):
    """Whatever refuses a layer, its weights alone can be taken, under names of their own."""
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((6, 4, 4)),
            layers.ConvLSTM1D(2, 2, name="a", return_sequences=True),
            layers.Reshape((6, 6)),
            layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum", name="b"),
            layers.Normalization(name="c"),
        ]
    )
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        with pytest.raises(CkptconvError, match=r"a: ConvLSTM1D has no equal.*FILE\.py"):
            ckptconv.load(tmp_path / name)
        graph = ckptconv.load(tmp_path / name, kinds=dict.fromkeys("abc", "Parameter"))
        assert len({layer.path for layer in graph}) == 3 + 2 * 3 + 3
        assert {layer.kind for layer in graph} == {"Parameter"}


@pytest.mark.parametrize("mode", ["sum", "mul", "ave", None])
def test_merge_modes(tmp_path, mode):
    import keras

    layer = keras.layers.Bidirectional(keras.layers.LSTM(3), merge_mode=mode, name="bi")
    with pytest.raises(CkptconvError, match=f"bi: merge_mode {mode} has no equal.*expected concat"):
        ckptconv.load(saved(tmp_path, layer))


def test_what_surrounds_a_layer_is_told(tmp_path):
    """Wrappers, masks and states stand in the configuration and in no weight."""
    import keras

    layers = keras.layers
    steps, other = keras.Input((STEPS, FEATURES)), keras.Input((STEPS, FEATURES))
    masked = layers.Masking(name="skip")(steps)
    whole, state = layers.GRU(FEATURES, return_sequences=True, return_state=True, name="a")(masked)
    scaled = layers.TimeDistributed(layers.BatchNormalization(), name="b")(whole)
    last = layers.GRU(FEATURES, dtype="mixed_float16", name="c")(other, initial_state=state)
    keras.Model([steps, other], [scaled, last]).save(tmp_path / "m.keras")
    report = ckptconv.convert(tmp_path / "m.keras", tmp_path / "m.pt", to="torch")
    assert "skip: Masking: give the sequences' lengths to the layers after it" in report.notes
    told = {layer.path: " ".join(layer.notes) for layer in report.layers}
    assert "called with mask in the source" in told["a"]
    assert "TimeDistributed: fold the time axis into the batch" in told["b"]
    assert "called with initial_state in the source" in told["c"]
    assert "Keras computes this layer in float16" in told["c"]
    report = ckptconv.convert(
        tmp_path / "m.keras", tmp_path / "n.pt", to="torch", network=tmp_path / "n.py"
    )
    assert any("in float16 where this network computes in float32" in note for note in report.notes)


def test_halves_of_different_sizes_are_refused_by_that(tmp_path):
    import keras

    back = keras.layers.LSTM(5, go_backwards=True)
    layer = keras.layers.Bidirectional(keras.layers.LSTM(3), backward_layer=back, name="bi")
    with pytest.raises(CkptconvError, match=r"bi: the halves.*differ in units.*network='FILE.py'"):
        ckptconv.load(saved(tmp_path, layer))
