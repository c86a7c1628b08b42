"""Layers of other ecosystems: an independent forward in their own convention is the oracle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv import pipeline
from ckptconv.checkpoint import Checkpoint
from ckptconv.graph.gates import ORDERS, order
from ckptconv.options import ReadOptions
from ckptconv.tensors.tensor import ArrayTensor

INPUT, HIDDEN, STEPS, BATCH = 3, 5, 6, 2
LETTERS = {"LSTM": "ifgo", "GRU": "rzn"}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def arrays_of(kind, *, layers=1, directions=1, bias=True, cell=False):
    """Distinct values in float32, so that no permutation can hide."""
    rng = np.random.default_rng(len(kind) + layers + directions)
    rows, arrays = len(LETTERS[kind]) * HIDDEN, {}
    for k in range(layers):
        for d in range(directions):
            place = "" if cell else f"_l{k}" + "_reverse" * d
            width = INPUT if k == 0 else directions * HIDDEN
            shapes = {"weight_ih": (rows, width), "weight_hh": (rows, HIDDEN)}
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
            for name, shape in shapes.items():
                arrays[name + place] = rng.uniform(-0.5, 0.7, shape).astype(np.float32)
    return arrays


def forward(kind, order, arrays, x, h, c=None, *, place="", forget_bias=0.0, z_convention=False):
    """One layer and direction in float64, its gates in ``order``; returns outputs and states."""
    w_ih, w_hh = (np.split(arrays[n + place], len(order)) for n in ("weight_ih", "weight_hh"))
    zeros = [0.0] * len(order)
    b_ih, b_hh = (
        np.split(arrays[n + place], len(order)) if n + place in arrays else zeros
        for n in ("bias_ih", "bias_hh")
    )
    outputs = []
    for step in x.astype(np.float64):
        inner = {g: step @ w_ih[i].T + b_ih[i] for i, g in enumerate(order)}
        outer = {g: h @ w_hh[i].T + b_hh[i] for i, g in enumerate(order)}
        if kind == "LSTM":
            i, o = (sigmoid(inner[g] + outer[g]) for g in "io")
            f = sigmoid(inner["f"] + outer["f"] + forget_bias)
            c = f * c + i * np.tanh(inner["g"] + outer["g"])
            h = o * np.tanh(c)
        else:
            r, z = (sigmoid(inner[g] + outer[g]) for g in "rz")
            n = np.tanh(inner["n"] + r * outer["n"])
            h = (1 - z) * h + z * n if z_convention else (1 - z) * n + z * h
        outputs.append(h)
    return np.array(outputs), h, c


def lift(arrays, **options):
    tensors = {f"m.{name}": ArrayTensor(array) for name, array in arrays.items()}
    return pipeline.lift(Checkpoint("memory", tensors), ReadOptions(source="torch", **options))


def converted(graph, kind):
    module = getattr(torch.nn, kind)(INPUT, HIDDEN, bias="bias_ih_l0" in graph["m"].params)
    state = ckptconv.to_state_dict(graph, "torch")
    module.load_state_dict({n[2:]: torch.from_numpy(v.copy()) for n, v in state.items()})
    return module


def check(kind, order, arrays, options, **convention):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((STEPS, BATCH, INPUT)).astype(np.float32)
    h, c = rng.standard_normal((2, BATCH, HIDDEN)).astype(np.float32)
    expected, *states = forward(kind, order, arrays, x, h, c, place="_l0", **convention)
    module = converted(lift(arrays, **options), kind)
    given = tuple(torch.from_numpy(s[None]) for s in ((h, c) if kind == "LSTM" else (h,)))
    with torch.no_grad():
        found, last = module(torch.from_numpy(x), given if kind == "LSTM" else given[0])
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-7, rtol=0)
    if kind == "LSTM":
        np.testing.assert_allclose(last[1].numpy()[0], states[1], atol=1e-6, rtol=0)


LSTMS = sorted({orders[0] for orders in ORDERS.values()})


@pytest.mark.parametrize("order", LSTMS)
@pytest.mark.parametrize("bias", [True, False])
def test_lstm_orders(order, bias):
    arrays = arrays_of("LSTM", bias=bias)
    check("LSTM", order, arrays, {"gates": order.replace("g", "c")})


@pytest.mark.parametrize("order", ["rzn", "zrn", "nrz", "znr", "nzr", "rnz"])
def test_gru_orders(order):
    arrays = arrays_of("GRU")
    check("GRU", order, arrays, {"gates": ",".join(order.replace("n", "h"))})


OWN = {
    # ecosystem: its LSTM, its GRU, as its own source has them
    "torch": ("ifgo", "rzn"),
    "mindspore": ("ifgo", "rzn"),
    "keras": ("ifgo", "zrn"),
    "keras1": ("igfo", "zrn"),  # recurrent.py of 1.2.2: trainable_weights
    "mindspore-dynamicrnn": ("igfo", "rzn"),  # rnns.py
    "mindspore-lite": ("iofg", None),
    "paddle": ("ifgo", "rzn"),
    "mxnet": ("ifgo", "rzn"),
    "cudnn": ("ifgo", None),
    "OneDNN": ("ifgo", "zrn"),
    "onnx": ("iofg", "zrn"),  # onnx/defs/rnn/defs.cc
    "tf1": ("igfo", None),  # rnn_cell_impl.py: i, j, f, o
    "haiku": ("igfo", "zrn"),  # _src/recurrent.py
    "coreml": ("ifog", None),  # MIL's lstm: i, f, o, z
    "openvino": ("figo", "zrn"),
    "ncnn": ("ifog", None),  # src/layer/lstm.cpp
    "cntk": ("igfo", "zrn"),  # layers/blocks.py: bit, ft, ot; zt_proj, rt_proj, ct_proj
    "dynet": ("ifog", None),
    "caffe2": ("ifog", None),
}
BEFORE = ("haiku", "keras1", "cntk")
"""Their GRU applies r before the product, and is refused."""


@pytest.mark.parametrize("name", OWN)
def test_ecosystems_by_name(name):
    for kind, own in zip(("LSTM", "GRU"), OWN[name], strict=True):
        if own and not (kind == "GRU" and name in BEFORE):
            check(kind, own, arrays_of(kind), {"gates": name})
        elif own:
            assert order(kind, name) == own


def test_every_ecosystem_is_checked():
    assert {name.lower() for name in OWN} == set(ORDERS)


@pytest.mark.parametrize("bias", [True, False])
def test_tensorflow_1_with_its_run_time_forget_bias(bias):
    arrays = arrays_of("LSTM", bias=bias)
    options = {"gates": "tf1", "forget_bias": 1.0}
    check("LSTM", "igfo", arrays, options, forget_bias=1.0)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check("LSTM", "igfo", arrays, {"gates": "tf1"}, forget_bias=1.0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", ["rzn", "nrz"])
def test_the_other_meaning_of_z(order, bias):
    arrays = arrays_of("GRU", bias=bias)
    options = {"gates": order, "z_convention": True}
    check("GRU", order, arrays, options, z_convention=True)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check("GRU", order, arrays, {"gates": order}, z_convention=True)


def test_both_kinds_in_one_file_and_every_layer_and_direction():
    arrays = {f"a.{n}": v for n, v in arrays_of("LSTM", layers=2, directions=2).items()}
    arrays |= {f"b.{n}": v for n, v in arrays_of("GRU", cell=True).items()}
    arrays |= {"c.weight": np.ones((2, 3), np.float32)}
    tensors = {name: ArrayTensor(array) for name, array in arrays.items()}
    graph = pipeline.lift(
        Checkpoint("memory", tensors), ReadOptions(source="torch", gates="iofc z, r, h")
    )
    found = ckptconv.to_state_dict(graph, "torch")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        blocks = np.split(array, 4 if name[0] == "a" else 3) if name[0] != "c" else [array]
        picks = {"a": (0, 2, 3, 1), "b": (1, 0, 2), "c": (0,)}[name[0]]
        np.testing.assert_array_equal(found[name], np.concatenate([blocks[i] for i in picks]))


def test_the_projection_has_no_gates():
    module = torch.nn.LSTM(INPUT, HIDDEN, proj_size=2)
    arrays = {n: v.numpy() for n, v in module.state_dict().items()}
    params = lift(arrays, gates="onnx")["m"].params
    np.testing.assert_array_equal(params["weight_hr_l0"].numpy(), arrays["weight_hr_l0"])
    assert params["weight_hr_l0"].inputs == ()


def test_the_canonical_order_touches_nothing():
    params = lift(arrays_of("LSTM"), gates="torch")["m"].params
    assert all(isinstance(tensor, ArrayTensor) for tensor in params.values())


def test_mindspore_names_are_read_so_too():
    tensors = {f"m.{name}": ArrayTensor(array) for name, array in arrays_of("LSTM").items()}
    graph = pipeline.lift(
        Checkpoint("memory", tensors), ReadOptions(source="mindspore", gates="iofc")
    )
    first = tensors["m.bias_ih_l0"].numpy()
    np.testing.assert_array_equal(graph["m"].params["bias_ih_l0"].numpy()[-HIDDEN:], first[5:10])


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("LSTM", {"gates": "iffo"}, r"does not give one order for LSTM.*permutation of i,f,g,o"),
        ("LSTM", {"gates": "rzn"}, "does not give one order for LSTM"),
        ("LSTM", {"gates": "iofc ifoc"}, "does not give one order for LSTM"),
        ("LSTM", {"gates": "iofc zrh"}, "zrh': no layer of the file has them"),
        ("GRU", {"gates": "tf1"}, "does not give one order for GRU"),
        ("GRU", {"forget_bias": 1.0}, "forget_bias: the file has no LSTM"),
        ("LSTM", {"z_convention": True}, "z_convention: the file has no GRU"),
        ("LSTM", {"forget_bias": float("nan")}, "forget_bias: not a number"),
    ],
)
def test_what_does_not_fit_is_refused(kind, options, message):
    with pytest.raises(ckptconv.CkptconvError, match=message):
        lift(arrays_of(kind), **options)


@pytest.mark.parametrize("name", BEFORE)
def test_a_reset_before_the_product_is_refused(name):
    with pytest.raises(ckptconv.LossyError, match="before the recurrent product"):
        lift(arrays_of("GRU"), gates=name)


def test_a_reset_before_the_product_really_differs():
    arrays = arrays_of("GRU")
    rng = np.random.default_rng(1)
    x, h = rng.standard_normal((STEPS, BATCH, INPUT)), rng.standard_normal((BATCH, HIDDEN))
    after, *_ = forward("GRU", "rzn", arrays, x, h, place="_l0")
    w_ih, w_hh, b_ih, b_hh = (
        np.split(arrays[n], 3) for n in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    )
    for step in x:
        r, z = (sigmoid(step @ w_ih[i].T + b_ih[i] + h @ w_hh[i].T + b_hh[i]) for i in (0, 1))
        n = np.tanh(step @ w_ih[2].T + b_ih[2] + (r * h) @ w_hh[2].T + b_hh[2])
        h = (1 - z) * n + z * h
    assert np.abs(after[-1] - h).max() > 0.05


def test_what_was_done_is_said():
    layer = lift(arrays_of("GRU"), gates="onnx", z_convention=True)["m"]
    assert "its gates are in the order z,r,n, as it was said" in layer.notes
    assert any("linear_before_reset" in note for note in layer.notes)
    layer = lift(arrays_of("LSTM"), gates="tf1")["m"]
    assert any("forget_bias=1.0" in note for note in layer.notes)
    layer = lift(arrays_of("LSTM"), forget_bias=1.0)["m"]
    assert layer.notes == ("the forget bias of 1 is now part of bias_ih",)


def test_keras_has_an_order_of_its_own():
    sizes = {"kernel": (3, 20), "recurrent_kernel": (5, 20)}
    arrays = {f"m/{name}": np.ones(shape, np.float32) for name, shape in sizes.items()}
    tensors = {name: ArrayTensor(array) for name, array in arrays.items()}
    for options in ({"gates": "iofc"}, {"forget_bias": 1.0}, {"z_convention": True}):
        with pytest.raises(ckptconv.CkptconvError, match="has an order of its own"):
            pipeline.lift(Checkpoint("memory", tensors), ReadOptions(source="keras", **options))


def test_a_file_that_says_what_its_layers_are_tells_their_order(tmp_path):
    """A whole module, a script, an exported program, and whatever a network is written of."""
    keras = pytest.importorskip("keras")
    lstm = torch.nn.LSTM(3, 5, batch_first=True).eval()
    torch.save(torch.nn.Sequential(lstm), tmp_path / "whole.pt")
    torch.jit.save(torch.jit.script(lstm), tmp_path / "script.pt")
    program = torch.export.export(torch.nn.Sequential(lstm), (torch.ones(1, 4, 3),))
    torch.export.save(program, tmp_path / "program.pt2")
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.LSTM(5)])
    model.save(tmp_path / "model.keras")
    cases = [("whole.pt", None), ("script.pt", None), ("program.pt2", None)]
    cases += [("program.pt2", "net.py"), ("model.keras", None), ("model.keras", "net.py")]
    for name, network in cases:
        for said in ({"gates": "iofc"}, {"forget_bias": 1.0}):
            with pytest.raises(ckptconv.CkptconvError, match="has an order of its own"):
                ckptconv.convert(
                    tmp_path / name,
                    tmp_path / "out.ckpt",
                    to="mindspore",
                    network=network and tmp_path / network,
                    **said,
                )
