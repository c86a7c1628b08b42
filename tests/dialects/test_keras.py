"""Keras's layers to torch and MindSpore and back: the frameworks themselves are the judges."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import ckptconv
from ckptconv import CkptconvError, RecurrentLayer
from ckptconv.tensors.tensor import trace
from tests.conftest import ROOT
from tests.networks import (
    BATCH,
    FEATURES,
    HIDDEN,
    STEPS,
    close,
    fill,
    load_strictly,
    torch_recurrent,
)

GOLDEN = ROOT / "tests" / "golden" / "keras"
LIMIT = 5e-6


def golden(must):
    files = [p for p in sorted(GOLDEN.glob("*.json")) if not p.name.endswith(".weights.json")]
    entries = [json.loads(path.read_text()) | {"stem": path.stem} for path in files]
    return [pytest.param(e, id=e["stem"]) for e in entries if e["must"] == must]


def arrays(entry):
    with np.load(GOLDEN / f"{entry['stem']}.npz") as file:
        return {name: file[name] for name in file.files}


def in_model_order(graph, weights):
    """Sort layers by where their weights stand in Keras's get_weights()."""
    known = {id(tensor) for tensor in graph.origin.tensors.values()}

    def place(layer):
        first = next(iter(layer.params.values()))
        values = trace(first, known).origins[0].numpy()
        return next(i for i, w in enumerate(weights) if np.array_equal(w, values))

    return sorted(graph, key=place)


def parameters(layer, loaded):
    prefix = f"{layer.path}." if layer.path else ""
    return {k.removeprefix(prefix): v for k, v in loaded.items() if k.startswith(prefix)}


# --- torch modules and MindSpore cells for the golden models, which are chains


def torch_module(layer):
    from torch import nn

    shape = {name: tensor.shape for name, tensor in layer.params.items()}
    if isinstance(layer, RecurrentLayer):
        hidden = shape["weight_hh_l0"][1]
        sides = {"bidirectional": layer.num_directions == 2, "batch_first": True}
        name = layer.kind
        return getattr(nn, name)(shape["weight_ih_l0"][1], hidden, **sides)
    first = shape["weight"]
    return {
        "Embedding": lambda: nn.Embedding(*first),
        "Linear": lambda: nn.Linear(first[1], first[0]),
        "LayerNorm": lambda: nn.LayerNorm(first, eps=1e-3),
        "BatchNorm1d": lambda: nn.BatchNorm1d(first[0], eps=1e-3),
        "Conv1d": lambda: nn.Conv1d(first[1], first[0], first[2], padding="same"),
        "Conv2d": lambda: nn.Conv2d(first[1], first[0], first[2:]),
        "ConvTranspose2d": lambda: nn.ConvTranspose2d(first[0], first[1], first[2:]),
    }[layer.kind]()


def run_torch(layers, loaded, entry, x):
    import torch

    value = torch.from_numpy(x)
    value = value.long() if x.dtype.kind == "i" else value
    for layer in layers:
        module = torch_module(layer)
        module.load_state_dict(parameters(layer, loaded), strict=True)
        module.eval()
        channels_first = layer.kind.startswith(("Conv", "BatchNorm"))
        with torch.no_grad():
            value = module(value.movedim(-1, 1) if channels_first else value)
        value = value[0] if isinstance(layer, RecurrentLayer) else value
        value = value.movedim(1, -1) if channels_first else value
        if "conv1d" in entry["stem"] and layer.kind == "Conv1d":
            value = torch.relu(value)
        if "lambda" in entry["stem"] and layer.kind == "LSTM":
            value = value * 2
    return value.numpy()


def convert(entry, target, to, **options):
    source = GOLDEN / entry["file"]
    ckptconv.convert(source, target, to=to, **options)
    return in_model_order(ckptconv.load(source, **options), list(arrays(entry).values())[2:])


@pytest.mark.parametrize("entry", golden("convert"))
def test_golden_to_torch(entry, tmp_path):
    import torch

    layers = convert(entry, tmp_path / "m.pt", "torch")
    loaded = torch.load(tmp_path / "m.pt", weights_only=True)
    data = arrays(entry)
    close(run_torch(layers, loaded, entry, data["x"]), data["y"], LIMIT)


@pytest.mark.parametrize("entry", golden("assume"))
def test_golden_with_an_assumption(entry, tmp_path):
    """Right only where the assumption is, which the report names."""
    import torch

    layers = convert(entry, tmp_path / "m.pt", "torch")
    for layer in layers:
        noted = any("sigmoid is assumed" in note for note in layer.notes)
        assert noted == (layer.kind in ("LSTM", "GRU"))
    loaded, data = torch.load(tmp_path / "m.pt", weights_only=True), arrays(entry)
    found = run_torch(layers, loaded, entry, data["x"])
    if "it is hard here" in entry["why"]:
        assert np.abs(found - data["y"]).max() > 1e-3
    else:
        close(found, data["y"], LIMIT)


@pytest.mark.parametrize("entry", golden("refuse"))
def test_golden_refused(entry):
    source = GOLDEN / entry["file"]
    words = ("reset_after=False", "hard_sigmoid", "merge_mode sum", "Theano")
    word = next(word for word in words if word in entry["why"])
    with pytest.raises(CkptconvError, match=word) as caught:
        ckptconv.load(source)
    assert caught.value.tensor in (*entry["layers"], "gru")  # by its group where nothing names it


# --- MindSpore


def mindspore_cell(layer):
    from mindspore import nn

    shape = {name: tensor.shape for name, tensor in layer.params.items()}
    if isinstance(layer, RecurrentLayer):
        sides = {"bidirectional": layer.num_directions == 2, "batch_first": True}
        return getattr(nn, layer.kind)(shape["weight_ih_l0"][1], shape["weight_hh_l0"][1], **sides)
    first = shape["weight"]
    return {
        "Embedding": lambda: nn.Embedding(*first),
        "Linear": lambda: nn.Dense(first[1], first[0]),
        "LayerNorm": lambda: nn.LayerNorm(first, epsilon=1e-3),
        "BatchNorm1d": lambda: nn.BatchNorm1d(first[0], eps=1e-3),
    }[layer.kind]()


def run_mindspore(layers, path, x):
    import mindspore as ms

    network, cells = ms.nn.Cell(), [mindspore_cell(layer) for layer in layers]
    for layer, cell in zip(layers, cells, strict=True):
        attribute = layer.path.replace(".", "_")
        setattr(network, attribute, cell)
        for parameter in cell.get_parameters():
            parameter.name = parameter.name.replace(attribute, layer.path, 1)
    load_strictly(network, path)
    network.set_train(False)
    value = ms.Tensor(x)
    for layer, cell in zip(layers, cells, strict=True):
        flat = layer.kind == "BatchNorm1d"
        shape = value.shape
        value = cell(value.reshape(-1, shape[-1]) if flat else value)
        value = value[0] if isinstance(layer, RecurrentLayer) else value
        value = value.reshape(shape) if flat else value
    return value.asnumpy()


ONE_OF_EACH = (
    "main|keras231_c(udnn|ells)|l2_stacked|keras122_rnn|dotweights|theano_lstm|sharded|seq_full"
    "|keras392_zip|is_hdf5|tf22_two"
)
"""At least one golden file of each writer and layout."""


@pytest.mark.parametrize("entry", [p for p in golden("convert") if re.search(ONE_OF_EACH, p.id)])
def test_golden_to_mindspore(entry, tmp_path):
    layers = convert(entry, tmp_path / "m.ckpt", "mindspore")
    data = arrays(entry)
    close(run_mindspore(layers, tmp_path / "m.ckpt", data["x"]), data["y"], LIMIT)


# --- to Keras


def whole_network():
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(11, FEATURES)
            self.conv = torch.nn.Conv1d(FEATURES, 6, 3, padding=1)
            self.norm = torch.nn.LayerNorm(6)
            self.bn = torch.nn.BatchNorm1d(6)
            self.lstm = torch.nn.LSTM(6, HIDDEN, 2, batch_first=True, bidirectional=True)
            self.fc1 = torch.nn.Linear(2 * HIDDEN, 6)
            self.fc2 = torch.nn.Linear(6, 2, bias=False)

        def forward(self, x):
            x = self.bn(self.conv(self.embed(x).mT)).mT
            return self.fc2(self.fc1(self.lstm(self.norm(x))[0]))

    return fill(Network())


def keras_network():
    import keras

    layers = keras.layers
    bi = [
        layers.Bidirectional(layers.LSTM(HIDDEN, return_sequences=True), name=f"lstm_l{i}")
        for i in range(2)
    ]
    x = keras.Input((STEPS,))
    value = layers.Embedding(11, FEATURES)(x)
    value = layers.Conv1D(6, 3, padding="same")(value)
    value = layers.BatchNormalization(epsilon=1e-5)(value)
    value = layers.LayerNormalization(epsilon=1e-5)(value)
    for layer in bi:
        value = layer(value)
    return keras.Model(x, layers.Dense(2, use_bias=False)(layers.Dense(6)(value)))


def test_whole_network_to_keras(tmp_path):
    import torch

    network, tokens = whole_network(), np.random.default_rng(3).integers(0, 11, (BATCH, STEPS))
    torch.save(network.state_dict(), tmp_path / "m.pt")
    with torch.no_grad():
        expected = network(torch.from_numpy(tokens)).numpy()
    kinds = {"norm": "LayerNorm", "conv": "Conv1d"}
    target = tmp_path / "m.weights.h5"
    report = ckptconv.convert(tmp_path / "m.pt", target, to="keras", kinds=kinds)
    assert report.omitted.keys() == {"bn.num_batches_tracked"}
    model = keras_network()
    model.load_weights(tmp_path / "m.weights.h5")
    close(model.predict(tokens, verbose=0), expected, LIMIT)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_cells(tmp_path, kind):
    import keras
    import torch

    cell = fill(getattr(torch.nn, f"{kind}Cell")(FEATURES, HIDDEN))
    torch.save({f"step.{k}": v for k, v in cell.state_dict().items()}, tmp_path / "m.pt")
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.weights.h5", to="keras")
    name = {"RNN": "SimpleRNN"}.get(kind, kind)
    model = keras.Sequential([keras.Input((STEPS, FEATURES)), keras.layers.RNN(
        getattr(keras.layers, f"{name}Cell")(HIDDEN))])  # fmt: skip
    weights = ckptconv.load(tmp_path / "m.weights.h5")
    assert [(layer.path, layer.kind) for layer in weights] == [("step", f"{kind}Cell")]
    held = ckptconv.formats.read(tmp_path / "m.weights.h5")
    model.set_weights([tensor.numpy() for tensor in held.tensors.values()])
    x, state = np.random.default_rng(1).normal(size=(BATCH, STEPS, FEATURES)).astype("f4"), None
    for t in range(STEPS):
        with torch.no_grad():
            state = cell(torch.from_numpy(x[:, t]), state)
    close(model.predict(x, verbose=0), (state[0] if kind == "LSTM" else state).numpy(), LIMIT)


@pytest.mark.parametrize("kdim", [8, 5], ids=["one width", "other keys"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_attention_there_and_back(tmp_path, kdim, suffix):
    import keras
    import torch

    query, value = keras.Input((4, 8)), keras.Input((STEPS, kdim))
    layer = keras.layers.MultiHeadAttention(2, 4, name="mha")
    model = keras.Model([query, value], layer(query, value))
    rng = np.random.default_rng(2)
    model.set_weights([rng.uniform(-0.5, 0.5, w.shape) for w in model.weights])
    model.save_weights(tmp_path / "k.weights.h5") if "w" in suffix else model.save(
        tmp_path / "k.h5")  # fmt: skip
    ckptconv.convert(tmp_path / f"k{suffix}", tmp_path / "m.pt", to="torch")
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True, kdim=kdim, vdim=kdim)
    loaded = torch.load(tmp_path / "m.pt", weights_only=True)
    path = next(iter(loaded)).partition(".")[0]
    attention.load_state_dict({k.removeprefix(f"{path}."): v for k, v in loaded.items()})
    q, v = rng.normal(size=(3, 4, 8)), rng.normal(size=(3, STEPS, kdim))
    q, v = q.astype("f4"), v.astype("f4")
    with torch.no_grad():
        found = attention(*(torch.from_numpy(a) for a in (q, v, v)))[0].numpy()
    close(found, model.predict([q, v], verbose=0), LIMIT)
    kinds = {path: "MultiheadAttention(num_heads=2)"}
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "b.weights.h5", to="keras", kinds=kinds)
    before = [w.numpy() for w in model.weights]
    model.set_weights([w * 0 for w in before])
    model.load_weights(tmp_path / "b.weights.h5")
    for weight, expected in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected)


@pytest.mark.parametrize("middle", [".pt", ".ckpt"])
@pytest.mark.parametrize(
    "stem", ["keras231_main", "tfkeras221_main", "keras333_zip_main", "keras392_l2_main"]
)
def test_round_trip_keeps_every_bit(tmp_path, stem, middle):
    entry = json.loads((GOLDEN / f"{stem}.json").read_text())
    source = GOLDEN / entry["file"]
    framework = {".pt": "torch", ".ckpt": "mindspore"}[middle]
    suffix = ".weights.h5" if source.name.endswith(".weights.h5") else ".h5"
    kinds = {"embed": "Embedding", "head": "Linear", "bn": "BatchNorm1d", "ln": "LayerNorm"}
    kinds = {k: v for k, v in kinds.items() if k in entry["layers"]}
    ckptconv.convert(source, tmp_path / f"m{middle}", to=framework)
    ckptconv.convert(tmp_path / f"m{middle}", tmp_path / f"b{suffix}", to="keras", kinds=kinds)
    before, after = ckptconv.load(source), ckptconv.load(tmp_path / f"b{suffix}")
    assert {layer.path for layer in before} == {layer.path for layer in after}
    for layer in before:
        assert layer.params.keys() == after[layer.path].params.keys()
        for name, tensor in layer.params.items():
            np.testing.assert_array_equal(tensor.numpy(), after[layer.path].params[name].numpy())


# --- what is refused


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


def test_real_files(real):
    expected = json.loads((ROOT / "tests" / "real_keras.json").read_text())
    for name, said in expected.items():
        try:
            graph = ckptconv.load(real / "keras" / name)
            found = " ".join(f"{layer.path}:{layer.kind}" for layer in graph)
        except CkptconvError as error:
            found = str(error)
        assert said in found, name


# --- names, notes, arrays in memory


def test_names_and_order_in_the_report(tmp_path):
    import torch

    module = torch_recurrent("LSTM", 2, 2)
    torch.save({f"enc.{k}": v for k, v in module.state_dict().items()}, tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.h5", to="keras")
    names = [entry.target for entry in report.tensors]
    assert names[0] == "enc_l0/enc_l0/forward_enc_l0/lstm_cell/kernel:0"
    assert names[-1] == "enc_l1/enc_l1/backward_enc_l1/lstm_cell/bias:0"
    assert report.tensors[2].sources == ["enc.bias_ih_l0", "enc.bias_hh_l0"]
    assert report.tensors[2].operations == ["sum of the two biases"]
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.weights.h5", to="keras")
    names = [entry.target for entry in report.tensors]
    assert names[0] == "layers/bidirectional/forward_layer/cell/vars/0"
    assert names[-1] == "layers/bidirectional_1/backward_layer/cell/vars/2"


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


@pytest.mark.parametrize("names", ["legacy", "numbers"])
def test_arrays_in_memory(names):
    rng = np.random.default_rng(4)
    kernel, recurrent, bias = (rng.normal(size=s).astype("f4") for s in ((5, 12), (3, 12), 12))
    paths = {
        "legacy": ["a/a/lstm_cell/kernel:0", "a/a/lstm_cell/recurrent_kernel:0",
                   "a/a/lstm_cell/bias:0"],
        "numbers": [f"layers/lstm/cell/vars/{i}" for i in range(3)],
    }[names]  # fmt: skip
    given = dict(zip(paths, (kernel, recurrent, bias), strict=True))
    graph = ckptconv.from_state_dict(given, "keras")
    found = {k.split(".")[1]: v for k, v in ckptconv.to_state_dict(graph, "torch").items()}
    np.testing.assert_array_equal(found["weight_ih_l0"], kernel.T)
    np.testing.assert_array_equal(found["bias_ih_l0"] + found["bias_hh_l0"], bias)
    back = ckptconv.to_state_dict(graph, "keras")
    for array, expected in zip(back.values(), given.values(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_a_norm_that_may_be_two_classes(tmp_path):
    """Legacy .h5 names no class, and both have the same weights; .weights.h5 needs to know."""
    import keras
    import torch

    norm = fill(torch.nn.LayerNorm(6))
    torch.save(torch.nn.ModuleDict({"norm": norm}).state_dict(), tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.h5", to="keras")
    assert any("LayerNormalization or GroupNormalization" in note for note in report.notes)
    x = np.random.default_rng(3).normal(size=(BATCH, 6)).astype("f4")
    model = keras.Sequential([keras.Input((6,)), keras.layers.LayerNormalization(epsilon=1e-5)])
    model.load_weights(tmp_path / "m.h5")
    with torch.no_grad():
        close(model.predict(x, verbose=0), norm(torch.from_numpy(x)).numpy(), LIMIT)
    with pytest.raises(CkptconvError, match=r"expected LayerNorm or GroupNorm.*{'norm': 'Layer"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.weights.h5", to="keras")


def test_a_kind_without_equal_in_keras(tmp_path):
    arrays = {"mix.weight": np.ones((2, 3, 4), "f4"), "mix.bias": np.ones(2, "f4")}
    graph = ckptconv.from_state_dict(arrays, "torch", modules={"mix": "Bilinear"})
    with pytest.raises(CkptconvError, match="mix: Bilinear has no equal in Keras"):
        ckptconv.save(graph, tmp_path / "m.h5", to="keras")


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
            r"bidirectional\.bias_ih_l0_reverse.*found \(16,\)",
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


@pytest.mark.parametrize("mode", ["sum", "mul", "ave", None])
def test_merge_modes(tmp_path, mode):
    import keras

    layer = keras.layers.Bidirectional(keras.layers.LSTM(3), merge_mode=mode, name="bi")
    with pytest.raises(CkptconvError, match=f"bi: merge_mode {mode} has no equal.*expected concat"):
        ckptconv.load(saved(tmp_path, layer))
