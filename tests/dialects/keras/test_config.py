"""What a Keras configuration says, item by item: exact, or refused by name; Keras is the judge.

Each model is saved, converted, built from the report to the letter and run beside its source, as
the differential tests do with random models.
"""

from __future__ import annotations

import dataclasses

import pytest

import ckptconv
from tests.differential.keras_models import GENERATOR, build, save
from tests.differential.keras_models.spec import Plan, Spec
from tests.differential.outcome import Case, Result

RUN = GENERATOR.run
S = Spec
SEQ = {"return_sequences": True}
SUM = "abc,cd->abd"


def dense(activation):
    return S("Dense", {"units": 2, "activation": activation})


def plan(*layers, saving="keras", shape=(5, 3), model="Sequential", **more):
    given = Plan(S(model, {"layers": list(layers)}), shape, False, saving, "torch")
    return dataclasses.replace(given, **more)


def outcome(drawn, folder):
    return RUN(Case(0, str(drawn), drawn), folder)


def nested(*layers, name):
    return S("Sequential", {"layers": list(layers), "name": name})


HALVES = S("Bidirectional", {
    "layer": S("SimpleRNN", {"units": 2, "activation": "relu", **SEQ}),
    "backward_layer": S("SimpleRNN", {"units": 2, "activation": "tanh", "go_backwards": True,
                                      **SEQ}),
})  # fmt: skip
CELLS = [S("SimpleRNNCell", {"units": 2, "activation": "relu"}),
         S("SimpleRNNCell", {"units": 3, "activation": "tanh"}), S("GRUCell", {"units": 2}),
         S("LSTMCell", {"units": 4})]  # fmt: skip
RELU = S("LSTM", {"units": 2, "activation": "relu", "name": "deep", **SEQ})
EXACT = {
    "1 LayerNormalization(scale=False)": plan(S("LayerNormalization", {"scale": False})),
    "1 GroupNormalization(scale=False)": plan(
        S("GroupNormalization", {"scale": False, "groups": 1}), saving="h5"
    ),
    "2 go_backwards": plan(S("LSTM", {"units": 2, "go_backwards": True, **SEQ})),
    "5 stacked cells": plan(S("RNN", {"cell": CELLS})),
    "5 stacked cells in h5": plan(S("RNN", {"cell": CELLS, **SEQ}), saving="h5"),
    "5 in a Bidirectional": plan(S("Bidirectional", {"layer": S("RNN", {"cell": CELLS, **SEQ})})),
    "8 ReLU(max_value=0.3)": plan(dense(S("ReLU", {"max_value": 0.3}))),
    "8 a function called tanh": plan(dense(S("own>tanh")), saving="h5"),
    "9 forward_x, backward_x": plan(
        nested(S("LSTM", {"units": 2, "name": "forward_x", **SEQ}),
               S("LSTM", {"units": 2, "name": "backward_x", **SEQ}), name="inner"), saving="h5",
    ),
    "10 forward_layer, backward_layer": plan(S("own>Pair", {"units": 2})),
    "12 relu without a configuration": plan(
        S("LSTM", {"units": 2, "activation": "relu", **SEQ}), saving="weights.h5"
    ),
    "12 merge_mode without one": plan(
        S("Bidirectional", {"layer": S("GRU", {"units": 2, **SEQ}), "merge_mode": "sum"}),
        saving="weights.h5",
    ),
    "14 channels": plan(
        S("Conv1D", {"filters": 4, "kernel_size": 2}), S("BatchNormalization"), S("Flatten"),
        S("Dense", {"units": 2}),
    ),
    "14 steps == features": plan(S("BatchNormalization"), shape=(4, 4)),
    "14 channels_first": plan(
        S("Conv2D", {"filters": 2, "kernel_size": 2, "data_format": "channels_first"}),
        shape=(3, 5, 4),
    ),
    "14 BatchNormalization after Conv2D in h5": plan(
        S("Conv2D", {"filters": 2, "kernel_size": 2}), S("BatchNormalization"), shape=(5, 4, 3),
        saving="keras 2 h5",
    ),
    "16 query, value, key": plan(S("cross", {"layer": S("MultiHeadAttention", {
        "num_heads": 2, "key_dim": 2, "dropout": 0.3})}), shape=(5, 4)),
    "same with strides": plan(S("Conv1D", {"filters": 2, "kernel_size": 3, "strides": 2,
                                           "padding": "same"}), shape=(6, 3)),
    "same with strides, each axis its own": plan(
        S("Conv2D", {"filters": 2, "kernel_size": (3, 5), "strides": (2, 3), "padding": "same"}),
        shape=(6, 7, 3),
    ),
    "causal": plan(S("Conv1D", {"filters": 2, "kernel_size": 3, "padding": "causal"})),
    "ConvTranspose valid": plan(
        S("Conv1DTranspose", {"filters": 2, "kernel_size": 2, "strides": 3})
    ),
    "ConvTranspose same": plan(S("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2,
                                                     "padding": "same"}), shape=(4, 3, 2)),
    "ConvTranspose same, each axis its own": plan(
        S("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "strides": (2, 1),
                              "padding": "same"}), shape=(4, 3, 2)),
    "Bidirectional(RNN(GRUCell))": plan(
        S("Bidirectional", {"layer": S("RNN", {"cell": S("GRUCell", {"units": 2})})})
    ),
    "a layer that holds layers, in .keras": plan(S("own>Block", {"units": 2})),
    "Dense layers called query": plan(*(S("Dense", {"units": 3, "name": name}) for name in (
        "query", "key", "value", "attention_output")), saving="h5"),
    "a model called query": plan(
        nested(S("cross", {"layer": S("MultiHeadAttention", {"num_heads": 2, "key_dim": 2})}),
               S("LSTM", {"units": 2, **SEQ}), name="query"), saving="h5", shape=(5, 4),
    ),
    "a model called forward_": plan(
        nested(S("Bidirectional", {"layer": S("LSTM", {"units": 2, **SEQ})}), name="forward_m"),
        saving="h5",
    ),
    "nine layers, one not ASCII": plan(
        *(S("Dense", {"units": 2, "name": f"größe_{i}"}) for i in range(9)), saving="h5"
    ),
    "LoRA in h5": plan(S("Dense", {"units": 3}), saving="h5", lora=True),
    "LoRA of a table in h5": plan(
        S("Embedding", {"input_dim": 9, "output_dim": 4}), S("GRU", {"units": 3}),
        shape=(5,), tokens=True, saving="h5", lora=True,
    ),
}  # fmt: skip
REFUSED = {
    "3 int8": (
        plan(S("Dense", {"units": 2, "use_bias": False}), saving="weights.h5", quantize="int8"),
        r"dense\w*: quantized weights \(int8\)",
    ),
    "3 float8": (
        plan(S("Dense", {"units": 2}), saving="keras", quantize="float8"),
        r"dense\w*: quantized weights \(float8\)",
    ),
    "4 halves with other activations": (
        plan(HALVES), "halves of this Bidirectional differ in nonlinearity"),
    "7 a class called Dense": (plan(S("own>Dense", {"units": 2})), "own>Dense has no equal"),
    "7 a class called LSTM": (plan(S("own>LSTM", {"units": 2, **SEQ}), saving="keras 2 h5"),
                              "own>LSTM has no equal"),
    "8 an LSTM with a function called tanh": (
        plan(S("LSTM", {"units": 2, "activation": S("own>tanh")}), saving="h5"),
        "activation own>tanh has no equal"),
    "8 a SimpleRNN with ReLU(max_value=0.3)": (
        plan(S("SimpleRNN", {"units": 2, "activation": S("ReLU", {"max_value": 0.3})})),
        r"activation ReLU\(max_value=0.3",
    ),
    "8 that function as Keras 2 writes it": (
        plan(S("LSTM", {"units": 2, "activation": S("own>tanh")}), saving="keras 2 h5"),
        "activation own>tanh has no equal",
    ),
    "11 two levels of nesting in h5": (
        plan(nested(nested(RELU, name="innermost"), name="mid"), saving="h5"),
        r"mid\.innermost\.deep: activation relu"),
    "13 rms_scaling": (plan(S("LayerNormalization", {"rms_scaling": True})), "rms_scaling=True"),
    "13 axis": (plan(S("LayerNormalization", {"axis": 1})), r"axis=\[1\]"),
    "15 EinsumDense": (plan(S("EinsumDense", {"equation": SUM, "output_shape": (None, 2)}),
                            saving="weights.h5"), "nothing tells which layer"),
    "15 an attention's scale": (plan(S("pair", {"layer": S("AdditiveAttention")}),
                                     saving="weights.h5"), "nothing tells which layer"),
    "16 attention_axes": (
        plan(S("self", {"layer": S("MultiHeadAttention", {
            "num_heads": 2, "key_dim": 2, "attention_axes": (2,)})}), shape=(3, 5, 4)),
        "attention_axes"),
    "16 use_gate": (plan(S("self", {"layer": S("MultiHeadAttention", {
        "num_heads": 2, "key_dim": 2, "use_gate": True})}), shape=(5, 4)), "use_gate=True"),
}  # fmt: skip


@pytest.mark.parametrize("drawn", EXACT.values(), ids=EXACT.keys())
def test_exact(drawn, tmp_path):
    ended = outcome(drawn, tmp_path)
    assert ended.result in (Result.EQUAL, Result.NOTED), ended.reason + "\n" + ended.detail


@pytest.mark.parametrize(("drawn", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(drawn, words, tmp_path):
    model = build.build(drawn)
    build.fill(model, 1)
    for layer in model.layers if drawn.quantize else []:
        layer.quantize(drawn.quantize)
    path = save.save(model, drawn.saving, tmp_path)
    with pytest.raises(ckptconv.CkptconvError, match=words):
        ckptconv.convert(path, tmp_path / "m.pt", to="torch")
    assert not (tmp_path / "m.pt").exists()


LSTM = S("LSTM", {"units": 3, **SEQ})
APART = {
    "a layer between": plan(LSTM, S("ReLU"), LSTM),
    "a Dense between, without a configuration": plan(
        LSTM, S("Dense", {"units": 3}), LSTM, saving="weights.h5"
    ),
    "no configuration": plan(LSTM, LSTM, saving="weights.h5"),
    "backwards": plan(S("LSTM", {"units": 3, "go_backwards": True, **SEQ}), LSTM),
    "other nonlinearities": plan(S("SimpleRNN", {"units": 3, "activation": "relu", **SEQ}),
                                 S("SimpleRNN", {"units": 3, **SEQ})),
    "side by side": plan(S("parallel", {"layers": [LSTM, LSTM]}), model="Functional"),
    "its output taken elsewhere too": plan(
        LSTM, S("residual", {"layers": [LSTM, LSTM]}), model="Functional"
    ),
}  # fmt: skip


def fused(drawn, folder):
    model = build.build(drawn)
    build.fill(model, 1)
    path = save.save(model, drawn.saving, folder)
    graph = ckptconv.load(path)
    pair = [layer.path for layer in graph.recurrent][:2]
    return pair, lambda: ckptconv.load(path, fuse=[("both", pair)])


@pytest.mark.parametrize("drawn", APART.values(), ids=APART.keys())
def test_6_not_fused(drawn, tmp_path):
    pair, load = fused(drawn, tmp_path)
    with pytest.raises(ckptconv.CkptconvError, match=": fuse: ") as caught:
        load()
    assert any(path in str(caught.value) for path in pair)


@pytest.mark.parametrize("between", [[], [S("Dropout", {"rate": 0.5})]], ids=["next", "dropout"])
def test_6_fused(between, tmp_path):
    drawn = plan(LSTM, *between, LSTM, fuse=True)
    assert outcome(drawn, tmp_path).result in (Result.EQUAL, Result.NOTED)


def test_everything_refused_is_said_at_once(tmp_path):
    drawn = plan(S("own>Dense", {"units": 2, "name": "a"}), RELU, S("LSTM", {"units": 2}),
                 S("LayerNormalization", {"rms_scaling": True, "name": "c"}))  # fmt: skip
    path = save.save(build.build(drawn), "keras", tmp_path)
    with pytest.raises(ckptconv.CkptconvError) as caught:
        ckptconv.convert(path, tmp_path / "m.pt", to="torch")
    for words in ("own>Dense has no equal", "deep: activation relu", "c: rms_scaling=True"):
        assert words in str(caught.value)
