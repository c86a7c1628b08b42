"""torch's layers to Keras, which loads and runs them, and back."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

import ckptconv
from ckptconv import CkptconvError
from tests.networks import BATCH, FEATURES, HIDDEN, STEPS, close, fill, torch_recurrent

LIMIT = 5e-6


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


def test_calls_of_transposed_convolutions_give_kerass_own_sizes(tmp_path):
    """Also where windows do not meet, of which Keras and its ``output_padding`` differ."""
    import keras

    sizes = [(2, 3, "same"), (2, 3, "valid"), (1, 2, "same"), (3, 2, "same"), (3, 2, "valid")]
    made = [
        keras.layers.Conv1DTranspose(3 + i, kernel, strides=strides, padding=padding)
        for i, (kernel, strides, padding) in enumerate(sizes)
    ]
    model = keras.Sequential([keras.Input((2, FEATURES)), *made])
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(-0.5, 0.7, w.shape) for w in model.weights])
    model.save(tmp_path / "m.keras")
    target = tmp_path / "m.weights.h5"
    report = ckptconv.convert(tmp_path / "m.keras", target, to="keras")
    calls = [eval(layer.constructor, {"layers": keras.layers}) for layer in report.layers]
    again = keras.Sequential([keras.Input((2, FEATURES)), *calls])
    again.load_weights(target)
    x = rng.normal(size=(BATCH, 2, FEATURES)).astype("f4")
    close(again.predict(x, verbose=0), model.predict(x, verbose=0), LIMIT)


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


def test_a_norm_of_volumes_is_what_the_user_says(tmp_path):
    """Nothing in a file of weights tells its rank, on which MindSpore's names depend."""
    keras = pytest.importorskip("keras")
    model = keras.Sequential(
        [keras.Input((2, 2, 2, 3)), keras.layers.BatchNormalization(name="bn")]
    )
    model.save_weights(tmp_path / "m.weights.h5")
    kinds = {"bn": "BatchNorm3d"}
    graph = ckptconv.load(tmp_path / "m.weights.h5", kinds=kinds)
    assert "bn.bn2d.gamma" in ckptconv.to_state_dict(graph, "mindspore")


def test_what_is_advised_for_parameters_alone_works(tmp_path):
    """Counters of training are dropped; a parameter of one's own layer goes into ``.h5``."""
    loose = {"epoch": np.ones((), "f4"), "lr": np.ones(1, "f4"), "own.scale": np.ones(3, "f4")}
    layer = {"fc.weight": np.ones((2, 3), "f4"), "fc.bias": np.ones(2, "f4")}
    source, target = tmp_path / "m.safetensors", tmp_path / "m.weights.h5"
    save_file({**layer, **loose}, source, {"format": "pt"})
    with pytest.raises(ckptconv.LossyError, match=r"no place in [.]weights[.]h5") as told:
        ckptconv.convert(source, target, to="keras")
    first, _, last = told.value.hint.partition("; ")
    report = ckptconv.convert(source, target, to="keras", **eval(f"dict({first})"))
    assert [layer.path for layer in report.layers] == ["fc"]
    assert "a target that ends in .h5" in last
    report = ckptconv.convert(source, tmp_path / "m.h5", to="keras")
    assert {layer.path for layer in report.layers} == {"fc", *loose}
