"""The NumPy reference against the frameworks and against vectors that others published."""

import json
import os

import numpy as np
import pytest

from tests.conftest import ROOT

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("GLOG_v", "3")

from ckptconv import convert, from_state_dict, load, save
from ckptconv.tensors.tensor import ArrayTensor
from ckptconv.verification.frameworks.judge import Side
from ckptconv.verification.pairing import sublayer
from ckptconv.verification.reference import matrix
from ckptconv.verification.reference.arithmetic import ASCEND, FLOAT32, MINDSPORE_CPU
from ckptconv.verification.reference.forward import (
    CellWeights,
    Inputs,
    Style,
    Weights,
    forward,
    weights_of,
)
from ckptconv.verification.reference.inputs import reference as reference_of

VECTORS = ROOT.parent / "shared" / "real" / "vectors"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"{VECTORS} is absent")
LENGTHS = np.array([6, 2, 4])
MODULES = [
    (kind, layers, directions, bias)
    for kind in ("LSTM", "GRU", "RNN", "RNN-relu")
    for layers in (1, 3)
    for directions in (1, 2)
    for bias in (True, False)
]


def torch_module(kind, layers, directions, bias, **options):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    name, _, nonlinearity = kind.partition("-")
    options |= {"nonlinearity": nonlinearity} if nonlinearity else {}
    return getattr(torch.nn, name)(
        4, 5, layers, bias=bias, batch_first=True, bidirectional=directions == 2, **options
    )


def weights(module, kind):
    arrays = {name: value.detach().numpy() for name, value in module.state_dict().items()}
    layer = from_state_dict(arrays, "torch").layers[0]
    if kind == "RNN-relu":
        layer.attributes["nonlinearity"] = "relu"
    return weights_of(layer)


def inputs(found, seed=5):
    rng = np.random.default_rng(seed)
    layers, directions, hidden, out = found.shape
    x = rng.uniform(-1, 1, (3, 6, found.input_size)).astype(np.float32)
    h, c = (rng.uniform(-1, 1, (layers * directions, 3, n)) for n in (out, hidden))
    lstm = found.kind == "LSTM"
    return Inputs(x, LENGTHS, h.astype(np.float32), c.astype(np.float32) if lstm else np.zeros(0))


def run_torch(module, given):
    import torch

    x, h, c = (torch.from_numpy(np.asarray(a, np.float32)) for a in (given.x, given.h, given.c))
    lengths = torch.from_numpy(given.lengths)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
    y, state = module(packed, (h, c) if given.c.size else h)
    state = state if given.c.size else (state,)
    y = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)[0]
    return [a.detach().numpy() for a in (y, *state)]


def worst(outputs, expected):
    return max(np.abs(a - b).max(initial=0) for a, b in zip(outputs, expected, strict=False))


@pytest.mark.parametrize(("kind", "layers", "directions", "bias"), MODULES)
def test_torch(kind, layers, directions, bias):
    module = torch_module(kind, layers, directions, bias)
    found = weights(module, kind)
    given = inputs(found)
    expected = run_torch(module, given)
    assert np.ptp(expected[0]) > 0.1
    assert worst(forward(found, given), expected) < 1e-6
    assert worst(forward(found, given, FLOAT32), expected) < 1e-6


def test_torch_projection():
    module = torch_module("LSTM", 2, 2, True, proj_size=3)
    found = weights(module, "LSTM")
    given = inputs(found)
    assert found.shape == (2, 2, 5, 3)
    assert worst(forward(found, given), run_torch(module, given)) < 1e-6


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_streamed_matrices_give_the_same(kind, monkeypatch):
    module = torch_module(kind, 2, 2, True)
    found = weights(module, kind)
    given = inputs(found)
    held = forward(found, given)
    monkeypatch.setattr(matrix, "HELD", 0)
    monkeypatch.setattr(matrix, "_BLOCK", 64)
    assert worst(forward(found, given), held) < 1e-14


@pytest.mark.parametrize(
    ("kind", "layers", "directions", "bias"), [m for m in MODULES if m[3] == (m[1] == m[2])]
)
def test_mindspore(kind, layers, directions, bias):
    mindspore = pytest.importorskip("mindspore")
    module = torch_module(kind, layers, directions, bias)
    found = weights(module, kind)
    given = inputs(found)
    name, _, nonlinearity = kind.partition("-")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    cell = getattr(mindspore.nn, name)(
        4, 5, layers, has_bias=bias, batch_first=True, bidirectional=directions == 2, **options
    )
    arrays = {k: mindspore.Parameter(v.detach().numpy()) for k, v in module.state_dict().items()}
    assert mindspore.load_param_into_net(cell, arrays, strict_load=True) == ([], [])
    h, c = (mindspore.Tensor(np.asarray(a, np.float32)) for a in (given.h, given.c))
    lengths = mindspore.Tensor(given.lengths.astype(np.int32))
    y, state = cell(mindspore.Tensor(given.x), (h, c) if given.c.size else h, lengths)
    state = state if given.c.size else (state,)
    assert worst(forward(found, given), [a.asnumpy() for a in (y, *state)]) < 2e-6


@pytest.mark.parametrize("style", [Style(), Style(go_backwards=True), Style("relu", "tanh")])
@pytest.mark.parametrize(
    ("kind", "name", "order"),
    [("LSTM", "LSTM", "ifgo"), ("GRU", "GRU", "zrn"), ("RNN", "SimpleRNN", "h")],
)
@pytest.mark.parametrize("reset_after", [True, False])
def test_keras(kind, name, order, style, reset_after):
    keras = pytest.importorskip("keras")
    options = {"activation": style.activation, "go_backwards": style.go_backwards}
    if kind != "RNN":
        options["recurrent_activation"] = style.recurrent_activation
    if kind == "GRU":
        options["reset_after"] = reset_after
    layer = getattr(keras.layers, name)(5, return_sequences=True, return_state=True, **options)
    rng = np.random.default_rng(2)
    x, *states = (
        rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((3, 6, 4), (3, 5), (3, 5))
    )
    states = states[: 2 if kind == "LSTM" else 1]
    layer.build(x.shape)
    layer.set_weights(
        [rng.uniform(-0.6, 0.6, w.shape).astype(np.float32) for w in layer.get_weights()]
    )
    expected = [np.asarray(a.detach()) for a in layer(x, initial_state=states)]
    kernel, recurrent, bias = layer.get_weights()
    rows = [ArrayTensor(row) for row in bias.reshape(-1, kernel.shape[1])] + [None]
    cell = CellWeights(ArrayTensor(kernel), ArrayTensor(recurrent), *rows[:2], None, order, True)
    style = Style(style.activation, style.recurrent_activation, reset_after, style.go_backwards)
    given = Inputs(x, np.full(3, 6), *(np.asarray([s]) for s in [*states, np.zeros(0)][:2]))
    found = forward(Weights(kind, {(0, 0): cell}, style), given)
    assert worst([found.y, found.h[0], *found.c], expected) < 2e-6


KERAS_JS = [
    # per case of keras-js: (activation, recurrent activation, go_backwards, calls)
    ("tanh", "hard_sigmoid", False, 1),
    ("sigmoid", "sigmoid", False, 1),
    ("tanh", "hard_sigmoid", False, 1),
    ("tanh", "hard_sigmoid", True, 1),
    ("tanh", "hard_sigmoid", True, 1),
    ("tanh", "hard_sigmoid", False, 2),
    ("tanh", "hard_sigmoid", False, 2),
    ("tanh", "hard_sigmoid", True, 2),
    ("tanh", "hard_sigmoid", True, 2),
]


@needs_vectors
@pytest.mark.parametrize(
    ("name", "kind", "order"),
    [("LSTM", "LSTM", "ifgo"), ("GRU", "GRU", "zrn"), ("SimpleRNN", "RNN", "h")],
)
@pytest.mark.parametrize("case", range(9))
def test_keras_js(name, kind, order, case):
    """Inputs, weights and outputs are printed with six decimals, hence half a unit more."""
    document = json.loads((VECTORS / f"keras-js__{name}.json").read_text())
    found = document[f"recurrent.{name}.{case}"]
    x, expected, *arrays = (
        np.array(a["data"]).reshape(a["shape"])
        for a in (found["input"], found["expected"], *found["weights"])
    )
    tensors = [ArrayTensor(a) for a in arrays] + [None]
    cell = CellWeights(*tensors[:3], None, None, order, columns=True)
    activation, recurrent, backwards, calls = KERAS_JS[case]
    weights = Weights(kind, {(0, 0): cell}, Style(activation, recurrent, False, backwards))
    h = c = np.zeros((1, 1, arrays[1].shape[0]))
    for _ in range(calls):
        y, h, c = forward(weights, Inputs(x[None], np.array([len(x)]), h, c))
    assert np.abs((y[0] if expected.ndim == 2 else h[0, 0]) - expected).max() < 2e-6 + 5e-7


ROUTES = [("torch",), ("mindspore",), ("keras",), ("mindspore", "keras"), ("keras", "mindspore"),
          ("mindspore", "torch"), ("keras", "torch")]  # fmt: skip
FILES = {"torch": ".pt", "mindspore": ".ckpt", "keras": ".h5"}


@needs_vectors
@pytest.mark.parametrize("route", ROUTES, ids="-".join)
def test_rtneural(tmp_path, route):
    """By every route: the framework loads the file at its end and reproduces the outputs."""
    pytest.importorskip(route[-1])
    arrays = {
        name: np.array(value, np.float32)
        for name, value in json.loads((VECTORS / "RTNeural__lstm_torch.json").read_text()).items()
    }
    path = tmp_path / "0.pt"
    save(from_state_dict(arrays, "torch"), path, to="torch")
    for step, framework in enumerate(route, 1):
        target = tmp_path / f"{step}{FILES[framework]}"
        convert(path, target, to=framework)
        path = target
    x, expected = (np.loadtxt(VECTORS / f"RTNeural__lstm_torch_{a}_python.csv") for a in "xy")
    graph = load(path)
    chain = [sublayer(layer, 0, layer.num_layers) for layer in graph.recurrent]
    zero = np.zeros((4, 1, 8))
    given = Inputs(x[None, :, None], np.array([len(x)]), zero, zero)
    dense = graph["dense"].params
    for found in (reference_of(graph, chain, given), Side(graph, "CPU").run(chain, given)):
        y = found.y[0] @ dense["weight"].numpy().T + dense["bias"].numpy()
        assert np.abs(y[:, 0] - expected).max() < 2e-6


def test_hardware_arithmetic_is_off_by_what_it_should():
    """float16 keeps 11 bits; MindSpore's CPU tanh is off by 1e-4 where the argument is near 5."""
    module = torch_module("RNN", 1, 1, True)
    found = weights(module, "RNN")
    given = inputs(found)
    exact = forward(found, given)
    assert 1e-5 < worst(forward(found, given, ASCEND), exact) < 3e-3
    assert worst(forward(found, given, MINDSPORE_CPU), exact) < 5e-6
    strong = given._replace(x=given.x * 20)
    exact = forward(found, strong)
    assert 5e-5 < worst(forward(found, strong, MINDSPORE_CPU), exact) < 1e-3


def test_mindspore_tanh():
    """The approximation whose error a proof names is the one that MindSpore computes."""
    mindspore = pytest.importorskip("mindspore")
    x = np.linspace(-8, 8, 100_001).astype(np.float32)
    exact = np.tanh(x.astype(np.float64))
    tanh = mindspore.ops.tanh(mindspore.Tensor(x)).asnumpy()
    assert np.abs(tanh - exact).max() > 5e-5
    assert np.abs(tanh - MINDSPORE_CPU.functions["tanh"](x.astype(np.float64))).max() < 5e-7
    sigmoid = mindspore.ops.sigmoid(mindspore.Tensor(x)).asnumpy()
    assert np.abs(sigmoid - MINDSPORE_CPU.functions["sigmoid"](x.astype(np.float64))).max() < 2e-6
