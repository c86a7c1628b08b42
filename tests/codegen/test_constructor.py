"""Every printed call builds a layer that takes the converted weights and computes the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv.codegen.constructor import constructor, standing_notes, unknown
from ckptconv.dialects import dialect
from ckptconv.graph.graph import Layer
from ckptconv.tensors.tensor import ArrayTensor

mindspore = pytest.importorskip("mindspore")
keras = pytest.importorskip("keras")
SEQUENCE = (2, 3, 4)

LAYERS = [
    # (torch layer, its attributes, input shape or None where MindSpore has no CPU kernel)
    (nn.LSTM(4, 5), {}, SEQUENCE),
    (
        nn.LSTM(4, 5, 2, bias=False, batch_first=True, bidirectional=True),
        {"batch_first": True},
        SEQUENCE,
    ),
    (nn.GRU(4, 5, 2, dropout=0.25), {"dropout": 0.25}, SEQUENCE),
    (nn.GRU(4, 5, bias=False, bidirectional=True), {}, SEQUENCE),
    (nn.RNN(4, 5, 3, nonlinearity="relu"), {"nonlinearity": "relu"}, SEQUENCE),
    (nn.RNN(4, 5), {}, SEQUENCE),
    (nn.LSTMCell(4, 5), {}, (2, 4)),
    (nn.GRUCell(4, 5, bias=False), {}, (2, 4)),
    (nn.RNNCell(4, 5, nonlinearity="relu"), {"nonlinearity": "relu"}, (2, 4)),
    (nn.Linear(4, 3), {}, SEQUENCE),
    (nn.Linear(4, 3, bias=False), {}, SEQUENCE),
    (nn.Bilinear(4, 4, 3), {}, (2, 4)),
    (nn.LayerNorm(4, eps=1e-3), {"eps": 1e-3}, SEQUENCE),
    (nn.LayerNorm((3, 4)), {}, SEQUENCE),
    (nn.LayerNorm(4, bias=False), {}, SEQUENCE),
    (nn.GroupNorm(2, 4, eps=1e-3), {"num_groups": 2, "eps": 1e-3}, (2, 4, 3, 3)),
    (nn.BatchNorm1d(4, eps=1e-3, momentum=0.3), {"eps": 1e-3, "momentum": 0.3}, (2, 4)),
    (nn.BatchNorm2d(4), {}, (2, 4, 3, 3)),
    (nn.BatchNorm2d(4, affine=False), {}, (2, 4, 3, 3)),
    (nn.BatchNorm3d(4), {}, (2, 4, 3, 3, 3)),
    (nn.Conv1d(4, 6, 3, padding=1, groups=2), {"padding": (1,), "groups": 2}, (2, 4, 7)),
    (nn.Conv1d(4, 6, 3, stride=2, dilation=2), {"stride": [2], "dilation": [2]}, (2, 4, 9)),
    (nn.Conv1d(4, 6, 4, padding="same"), {"padding": "same"}, (2, 4, 9)),
    (nn.Conv2d(4, 6, (3, 2), padding=(1, 2), bias=False), {"padding": (1, 2)}, (2, 4, 7, 7)),
    (nn.Conv2d(4, 6, 3, padding=2, stride=(1, 2)), {"padding": 2, "stride": (1, 2)}, (2, 4, 7, 7)),
    (nn.Conv3d(2, 3, 2, padding=1), {"padding": (1, 1, 1)}, (1, 2, 4, 4, 4)),
    (nn.ConvTranspose1d(4, 6, 3, 2, padding=1), {"stride": (2,), "padding": (1,)}, (2, 4, 7)),
    (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        {"stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1)},
        (2, 4, 5, 5),
    ),
    (nn.ConvTranspose3d(2, 3, 2), {}, (1, 2, 4, 4, 4)),
    (nn.PReLU(4), {}, (2, 4, 3, 3)),
    (nn.PReLU(), {}, (2, 4, 3, 3)),
    (nn.InstanceNorm1d(4, affine=True), {}, None),
    (nn.InstanceNorm2d(4, affine=True, eps=1e-3), {"eps": 1e-3}, None),
    (nn.MultiheadAttention(4, 2, batch_first=True), {"num_heads": 2, "batch_first": True}, "qkv"),
    (nn.MultiheadAttention(4, 2, kdim=3, vdim=5, add_bias_kv=True), {"num_heads": 2}, None),
    (nn.MultiheadAttention(4, 2, bias=False), {"num_heads": 2}, None),
    (nn.RMSNorm(4), {}, None),
]  # fmt: skip


def seeded(module):
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
                tensor.mul_(0.3)
    return module.eval()


def layer_of(module, attributes):
    graph = ckptconv.from_state_dict(
        {f"m.{name}": value.numpy() for name, value in module.state_dict().items()},
        "torch",
        modules={"m": type(module).__name__},
    )
    graph.layers[0].attributes.update(attributes)
    assert graph.layers[0].kind == type(module).__name__
    return graph


def call_of(layer, target, source="torch"):
    return constructor(layer, dialect(target).forms, dialect(source).forms)


def evaluate(text, **names):
    return eval(text, {"__builtins__": {}}, names)


def first(value):
    return value[0] if isinstance(value, tuple | list) else value


def call(module, inputs):
    with torch.no_grad():
        return first(module(*inputs)).numpy()


def inputs_for(shape, module):
    rng = np.random.default_rng(3)
    if shape == "qkv":
        return [rng.standard_normal((2, 3, 4), np.float32) for _ in range(3)]
    count = 2 if isinstance(module, nn.Bilinear) else 1
    return [rng.standard_normal(shape, np.float32) * 0.5 for _ in range(count)]


class Net(mindspore.nn.Cell):
    """A layer in a network: alone, some have other parameter names."""

    def __init__(self, m):
        super().__init__()
        self.m = m

    def construct(self, *inputs):
        return self.m(*inputs)


def load_mindspore(cell, graph, dialect):
    arrays = ckptconv.to_state_dict(graph, dialect)
    params = {n: mindspore.Parameter(mindspore.Tensor(a)) for n, a in arrays.items()}
    net = Net(cell)
    assert mindspore.load_param_into_net(net, params, strict_load=True) == ([], [])
    return net.set_train(False)


@pytest.mark.parametrize(("module", "attributes", "shape"), LAYERS, ids=str)
def test_torch(module, attributes, shape):
    module = seeded(module)
    graph = layer_of(module, attributes)
    built = evaluate(call_of(graph.layers[0], "torch"), nn=nn)
    built.load_state_dict(module.state_dict(), strict=True)
    assert str(built) == str(module)
    if shape is not None:
        tensors = [torch.from_numpy(a) for a in inputs_for(shape, module)]
        np.testing.assert_array_equal(call(built.eval(), tensors), call(module, tensors))


@pytest.mark.parametrize(("module", "attributes", "shape"), LAYERS[:-1], ids=str)
def test_mindspore(module, attributes, shape):
    module = seeded(module)
    graph = layer_of(module, attributes)
    text = call_of(graph.layers[0], "mindspore")
    cell = load_mindspore(evaluate(text, nn=mindspore.nn), graph, "mindspore")
    if shape is None:
        return
    arrays = inputs_for(shape, module)
    states = [mindspore.Tensor(a) for a in arrays]
    if isinstance(module, nn.LSTMCell):
        zeros = mindspore.ops.zeros((2, 5), mindspore.float32)
        states.append((zeros, zeros))
    elif isinstance(module, nn.GRUCell | nn.RNNCell):
        states.append(mindspore.ops.zeros((2, 5), mindspore.float32))
    expected = call(module, [torch.from_numpy(a) for a in arrays])
    np.testing.assert_allclose(first(cell(*states)).asnumpy(), expected, atol=3e-6, rtol=3e-6)


KERAS = [
    (nn.LSTM(4, 5), {}, SEQUENCE),
    (nn.LSTM(4, 5, 2, bidirectional=True), {}, SEQUENCE),
    (nn.GRU(4, 5, 2), {}, SEQUENCE),
    (nn.GRU(4, 5, bidirectional=True), {}, SEQUENCE),
    (nn.RNN(4, 5, nonlinearity="relu"), {"nonlinearity": "relu"}, SEQUENCE),
    (nn.LSTM(4, 5, bias=False), {}, SEQUENCE),
    (nn.Linear(4, 3), {}, SEQUENCE),
    (nn.LayerNorm(4), {}, SEQUENCE),
    (nn.LayerNorm((3, 4), eps=1e-2), {"eps": 1e-2}, SEQUENCE),
    (nn.GroupNorm(2, 4), {"num_groups": 2}, (2, 4, 3, 3)),
    (nn.RMSNorm(4, eps=1e-4), {"eps": 1e-4}, SEQUENCE),
    (nn.RMSNorm(4), {"eps": None}, SEQUENCE),
    (nn.BatchNorm1d(4, momentum=0.3), {"momentum": 0.3}, (2, 4, 3)),
    (nn.BatchNorm2d(4, affine=False), {}, (2, 4, 3, 3)),
    (nn.Conv1d(4, 6, 3, padding=1, groups=2), {"padding": (1,), "groups": 2}, (2, 4, 7)),
    (nn.Conv2d(4, 6, (3, 2), padding=(1, 2)), {"padding": (1, 2)}, (2, 4, 7, 7)),
    (nn.Conv2d(4, 6, 3, stride=2, bias=False), {"stride": (2, 2)}, (2, 4, 7, 7)),
    (nn.Conv1d(4, 6, 4, padding="same"), {"padding": "same"}, (2, 4, 9)),
    (nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1), {"stride": 2, "padding": 1}, (2, 4, 7)),
    (
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        {"stride": (2, 2), "padding": (1, 1), "output_padding": (1, 1)},
        (2, 4, 5, 5),
    ),
    (nn.ConvTranspose1d(4, 6, 2, stride=3), {"stride": 3}, (2, 4, 5)),  # windows do not meet
    (nn.ConvTranspose2d(4, 6, (2, 3), stride=(3, 2)), {"stride": (3, 2)}, (2, 4, 5, 6)),
]


@pytest.mark.parametrize(("module", "attributes", "shape"), KERAS, ids=str)
def test_keras(module, attributes, shape, tmp_path):
    module = seeded(module)
    graph = layer_of(module, attributes)
    built = evaluate(call_of(graph.layers[0], "keras"), layers=keras.layers)
    path = tmp_path / "m.weights.h5"
    ckptconv.save(graph, path, to="keras")
    (array,) = inputs_for(shape, module)
    moved = isinstance(module, nn.GroupNorm) or type(module).__name__[:4] in ("Conv", "Batc")
    given = np.moveaxis(array, 1, -1) if moved else array
    model = keras.Sequential(built if isinstance(built, list) else [built])
    model.build(given.shape)
    model.load_weights(path)
    if getattr(module, "batch_first", None) is False:
        module.batch_first = True
    expected = call(module, [torch.from_numpy(array)])
    found = np.asarray(model(given, training=False).detach())
    found = np.moveaxis(found, -1, 1) if moved else found
    np.testing.assert_allclose(found, expected, atol=3e-6, rtol=3e-6)


def test_keras_attention():
    layer = layer_of(nn.MultiheadAttention(8, 2), {"num_heads": 2}).layers[0]
    built = evaluate(call_of(layer, "keras"), layers=keras.layers)
    built.build((1, 3, 8), (1, 3, 8))
    assert [tuple(w.shape) for w in built.weights[:2]] == [(8, 2, 4), (2, 4)]


UNKNOWN = [
    (nn.LSTM(4, 5), "torch", ["batch_first (False is assumed)"]),
    (nn.LSTM(4, 5, 2), "torch", ["batch_first (False is assumed)", "dropout (0.0 is assumed)"]),
    (nn.LSTM(4, 5), "keras", []),
    (nn.RNNCell(4, 5), "torch", ["nonlinearity ('tanh' is assumed)"]),
    (nn.LayerNorm(4), "torch", ["eps (1e-05 is assumed)"]),
    (nn.LayerNorm(4), "mindspore", ["eps (1e-07 is assumed)"]),
    (nn.LayerNorm(4), "keras", ["eps (0.001 is assumed)"]),
    (nn.BatchNorm1d(4), "keras", ["eps (0.001 is assumed)", "momentum (0.01 is assumed)"]),
    (nn.GroupNorm(2, 4), "torch", ["num_groups (must be given)", "eps (1e-05 is assumed)"]),
    (nn.Linear(4, 4), "torch", []),
]


@pytest.mark.parametrize(("module", "source", "expected"), UNKNOWN)
def test_unknown(module, source, expected):
    assert unknown(layer_of(module, {}).layers[0], dialect(source).forms) == expected


def test_an_assumption_stands_in_the_call():
    layer = layer_of(nn.LayerNorm(4), {}).layers[0]
    calls = [call_of(layer, "torch", source) for source in ("torch", "mindspore", "keras")]
    assert calls == [f"nn.LayerNorm((4,), eps={eps})" for eps in ("1e-05", "1e-07", "0.001")]


def test_what_must_be_given_stands_as_a_question():
    layer = layer_of(nn.GroupNorm(2, 4), {}).layers[0]
    assert call_of(layer, "mindspore") == "nn.GroupNorm(?, 4, eps=1e-05)"


def test_a_cumulative_average_has_no_equal_and_that_is_said():
    layer = layer_of(nn.BatchNorm1d(4, momentum=None), {"momentum": None}).layers[0]
    assert "momentum=None" in call_of(layer, "torch")
    for target in ("mindspore", "keras"):  # 0.9 of the old value, as torch's 0.1 of the new one
        assert "momentum=0.9" in call_of(layer, target)
        assert any("cumulative" in note for note in standing_notes(layer, dialect(target).forms))


def test_an_ambiguous_kind_is_said():
    graph = ckptconv.from_state_dict({"m.weight": np.ones((3, 4), np.float32)}, "torch")
    assert unknown(graph.layers[0], dialect("torch").forms)[0].startswith("which of ")


@pytest.mark.parametrize(
    "value", [10**400, float("nan"), "x" * 10**6, None, [], {}, [1, 2, 3, 4], "causal", object()]
)
@pytest.mark.parametrize("name", ["stride", "padding", "groups", "dropout", "eps", "num_heads"])
def test_attributes_of_a_hostile_file(name, value):
    for module in (
        nn.Conv1d(4, 6, 3),
        nn.LSTM(4, 5, 2),
        nn.BatchNorm1d(3),
        nn.ConvTranspose1d(4, 6, 3),
    ):
        layer = layer_of(module, {name: value}).layers[0]
        for target in ("torch", "mindspore", "keras"):
            assert len(call_of(layer, target)) < 400
        assert all(len(text) < 100 for text in unknown(layer, dialect("torch").forms))


def test_parameters_have_no_constructor():
    shapes = {"": ArrayTensor(np.ones(3, np.float32))}
    assert call_of(Layer("scale", "Parameter", shapes), "mindspore") == ""


def test_mindspore_has_no_output_padding_in_one_dimension():
    layer = layer_of(nn.ConvTranspose1d(4, 6, 3, 2), {"stride": 2, "output_padding": 1}).layers[0]
    assert "padding=?" in call_of(layer, "mindspore")


def test_the_report_has_the_calls(tmp_path):
    graph = layer_of(nn.LSTM(4, 5), {})
    report = ckptconv.save(graph, tmp_path / "m.ckpt", to="mindspore")
    assert report.layers[0].constructor == "nn.LSTM(4, 5, has_bias=True, batch_first=False)"
    assert report.layers[0].unknown == ["batch_first (False is assumed)"]
