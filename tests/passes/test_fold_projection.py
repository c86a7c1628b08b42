"""``proj_size``: the folded LSTM and its Dense in MindSpore compute what torch computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv import pipeline
from ckptconv.codegen.constructor import constructor
from ckptconv.dialects import dialect
from ckptconv.options import WriteOptions
from ckptconv.report import account

HIDDEN, PROJECTED, STEPS, BATCH = 12, 5, 7, 3


def call_of(layer, target):
    return constructor(layer, dialect(target).forms, dialect("torch").forms)


def seeded_lstm(layers=1, bidirectional=False, bias=True, dtype=torch.float32):
    lstm = torch.nn.LSTM(
        4, HIDDEN, layers, bias=bias, bidirectional=bidirectional, proj_size=PROJECTED
    ).to(dtype)
    generator = torch.Generator().manual_seed(layers + 2 * bidirectional + 4 * bias)
    with torch.no_grad():
        for tensor in lstm.parameters():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.4)
    return lstm


def graph_of(lstm, path="encoder"):
    return ckptconv.from_state_dict(
        {f"{path}.{name}": value.numpy() for name, value in lstm.state_dict().items()}, "torch"
    )


def folded(lstm, to="mindspore"):
    return pipeline.lower(graph_of(lstm), to, WriteOptions(fold_proj=True))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_mindspore_computes_the_same(layers, bidirectional, bias):
    mindspore = pytest.importorskip("mindspore")
    lstm = seeded_lstm(layers, bidirectional, bias)
    lowered = folded(lstm)
    names = {"nn": mindspore.nn}
    (layer, targets), (dense, (name,)) = lowered.made
    cells = []
    for part, own in ((layer, targets), (dense, [name])):
        cell = eval(
            call_of(part, "mindspore"),
            {"__builtins__": {}},
            names,
        )
        values = {
            n.rpartition(".")[2]: mindspore.Parameter(mindspore.Tensor(lowered.tensors[n].numpy()))
            for n in own
        }
        assert mindspore.load_param_into_net(cell, values, strict_load=True) == ([], [])
        cells.append(cell.set_train(False))
    rng = np.random.default_rng(11)
    directions = 2 if bidirectional else 1
    x = rng.standard_normal((STEPS, BATCH, 4), np.float32)
    c_0 = rng.standard_normal((layers * directions, BATCH, HIDDEN), np.float32)
    zeros = np.zeros((layers * directions, BATCH, PROJECTED), np.float32)
    with torch.no_grad():
        y, (h_n, c_n) = lstm(torch.from_numpy(x), tuple(map(torch.from_numpy, (zeros, c_0))))
    states = (mindspore.ops.zeros(c_0.shape, mindspore.float32), mindspore.Tensor(c_0))
    out, (hidden, cell_state) = cells[0](mindspore.Tensor(x), states)
    found = cells[1](out).asnumpy()
    scale = float(y.abs().max())
    np.testing.assert_allclose(found, y.numpy(), rtol=0, atol=2e-6 * scale)
    np.testing.assert_allclose(cell_state.asnumpy(), c_n.numpy(), rtol=0, atol=2e-6 * scale)
    last = hidden[-directions:].transpose(1, 0, 2).reshape(BATCH, -1)
    through = cells[1](last).asnumpy().reshape(BATCH, directions, PROJECTED).transpose(1, 0, 2)
    np.testing.assert_allclose(through, h_n[-directions:].numpy(), rtol=0, atol=2e-6 * scale)


def test_products_are_rounded_once():
    lstm = seeded_lstm(2, True)
    state = {n: v.double().numpy() for n, v in lstm.state_dict().items()}
    tensors = folded(lstm).tensors
    expected = (state["weight_hh_l1_reverse"] @ state["weight_hr_l1_reverse"]).astype(np.float32)
    found = tensors["encoder.weight_hh_l1_reverse"].numpy()
    np.testing.assert_array_equal(found, expected)
    blocks = state["weight_ih_l1"].reshape(-1, 2, PROJECTED)
    halves = [blocks[:, d] @ state["weight_hr_l0" + s] for d, s in enumerate(("", "_reverse"))]
    expected = np.concatenate(halves, 1).astype(np.float32)
    np.testing.assert_array_equal(tensors["encoder.weight_ih_l1"].numpy(), expected)
    np.testing.assert_array_equal(
        tensors["encoder.weight_ih_l0"].numpy(), lstm.weight_ih_l0.detach().numpy()
    )


def test_nothing_is_computed_before_it_is_read():
    lowered = folded(seeded_lstm())
    product = lowered.tensors["encoder.weight_hh_l0"]
    part = product.read(((2, 5), (3, 9)))
    np.testing.assert_array_equal(part, product.numpy()[2:5, 3:9])


@pytest.mark.parametrize("to", ["mindspore", "mint", "keras"])
def test_refused_by_default(to):
    with pytest.raises(ckptconv.LossyError, match=r"encoder: proj_size has no equal.*fold_proj="):
        pipeline.lower(graph_of(seeded_lstm()), to, WriteOptions())


def test_torch_keeps_it():
    state = ckptconv.to_state_dict(graph_of(seeded_lstm()), "torch")
    assert state["encoder.weight_hr_l0"].shape == (PROJECTED, HIDDEN)


def test_other_layers_cannot_be_projected():
    state = torch.nn.LSTMCell(4, HIDDEN).state_dict()
    arrays = {f"m.{n}": v.numpy() for n, v in state.items()}
    arrays["m.weight_hh"] = np.ones((4 * HIDDEN, PROJECTED), np.float32)
    arrays["m.weight_hr"] = np.ones((PROJECTED, HIDDEN), np.float32)
    graph = ckptconv.from_state_dict(arrays, "torch")
    with pytest.raises(ckptconv.LossyError, match="proj_size"):
        pipeline.lower(graph, "mindspore", WriteOptions(fold_proj=True))


def test_everything_is_accounted_for_and_said():
    graph = graph_of(seeded_lstm(2, True))
    lowered = pipeline.lower(graph, "mindspore", WriteOptions(fold_proj=True))
    report = account(graph, lowered, {"path": "", "container": "", "framework": "mindspore"})
    used = {source for entry in report.tensors for source in entry.sources}
    assert used == set(graph.origin.tensors)
    lstm, dense = report.layers
    assert lstm.constructor.startswith(f"nn.LSTM(4, {HIDDEN}, num_layers=2")
    assert dense.constructor == f"nn.Dense({2 * HIDDEN}, {2 * PROJECTED}, has_bias=False)"
    text = " ".join(lstm.notes)
    assert "'encoder_proj'" in text
    assert "h_n" in text
    assert "h_0" in text


def test_a_layer_of_that_name_is_not_overwritten():
    graph = graph_of(seeded_lstm())
    more = ckptconv.from_state_dict(
        {"encoder_proj.weight": np.ones((3, 4), np.float32)}, "torch"
    ).layers
    graph = replace(graph, layers=graph.layers + more)
    with pytest.raises(ckptconv.DialectError, match="encoder_proj"):
        pipeline.lower(graph, "mindspore", WriteOptions(fold_proj=True))


def test_the_only_layer():
    state = {n: v.numpy() for n, v in seeded_lstm().state_dict().items()}
    graph = ckptconv.from_state_dict(state, "torch")
    lowered = pipeline.lower(graph, "mindspore", WriteOptions(fold_proj=True))
    assert list(lowered.tensors)[-1] == "proj.weight"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_keras_computes_the_same(bidirectional):
    keras = pytest.importorskip("keras")
    lstm = seeded_lstm(2, bidirectional)
    lowered = folded(lstm, "keras")
    tensors = {name: tensor.numpy() for name, tensor in lowered.tensors.items()}
    layers = []
    for part, _ in lowered.made:
        built = eval(call_of(part, "keras"), {"__builtins__": {}}, {"layers": keras.layers})
        layers += built if isinstance(built, list) else [built]
    model = keras.Sequential(layers)
    x = np.random.default_rng(11).standard_normal((BATCH, STEPS, 4), np.float32)
    model.build(x.shape)
    model.set_weights(list(tensors.values()))
    lstm.batch_first = True
    with torch.no_grad():
        expected = lstm(torch.from_numpy(x))[0].numpy()
        found = np.asarray(model(x))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
