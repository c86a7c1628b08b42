"""The table of layers against the frameworks: each call builds a layer with the form's weights."""

from __future__ import annotations

from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ckptconv.codegen.arguments import facts_of
from ckptconv.codegen.constructor import constructor, unknown
from ckptconv.dialects import DIALECTS, dialect
from ckptconv.graph.forms import Has, slots, stored_by_row
from ckptconv.graph.graph import RECURRENT, Layer, RecurrentLayer
from ckptconv.graph.kinds import AXES, KINDS
from ckptconv.tensors.tensor import ArrayTensor

mindspore = pytest.importorskip("mindspore")
keras = pytest.importorskip("keras")

CONV = {"o": 6, "i": 4, "k": 3, "h": 3, "w": 2, "d": 4}
DEPTHWISE = {"o": 6, "c": 3, "m": 2}
GATES = {"i": 4, "r": 5, "u": 5, "b": 2}
STATISTICS = ("running_mean", "running_var")
SAMPLES = {
    # kind: (sizes of the axes, attributes, the shape of Keras's input, parameters it has not)
    "Linear": ({"o": 3, "i": 4}, {}, (4,), ()),
    "Bilinear": ({"o": 3, "i": 4, "j": 5}, {}, None, ()),
    "Embedding": ({"v": 7, "n": 4}, {}, (3,), ()),
    "EmbeddingBag": ({"v": 7, "n": 4}, {}, (3,), ()),
    "LayerNorm": ({"*": (3, 4)}, {}, (3, 4), ()),
    "GroupNorm": ({"n": 4}, {"num_groups": 2}, (3, 4), ()),
    "RMSNorm": ({"*": (4,)}, {}, (3, 4), ()),
    "BatchNorm1d": ({"n": 4}, {}, (3, 4), ()),
    "BatchNorm2d": ({"n": 4}, {}, (3, 3, 4), ("weight", "bias")),
    "BatchNorm3d": ({"n": 4}, {}, (3, 3, 3, 4), ()),
    "InstanceNorm1d": ({"n": 4}, {}, None, STATISTICS),
    "InstanceNorm2d": ({"n": 4}, {}, None, STATISTICS),
    "InstanceNorm3d": ({"n": 4}, {}, None, STATISTICS),
    "Conv1d": (CONV, {"stride": 2}, (9, 4), ()),
    "Conv2d": (CONV, {"padding": 1}, (9, 9, 4), ("bias",)),
    "Conv3d": (CONV, {}, (9, 9, 9, 4), ()),
    "DepthwiseConv1d": ({**DEPTHWISE, "k": 3}, {"groups": 3}, (9, 3), ()),
    "DepthwiseConv2d": ({**DEPTHWISE, "h": 3, "w": 2}, {"groups": 3, "stride": 2}, (9, 9, 3), ()),
    "ConvTranspose1d": (CONV, {"stride": 2}, (9, 4), ("bias",)),
    "ConvTranspose2d": (CONV, {"stride": 2}, (9, 9, 4), ()),
    "ConvTranspose3d": (CONV, {}, (9, 9, 9, 4), ()),
    "PReLU": ({"n": 4}, {}, (4,), ()),
    "MultiheadAttention": (
        *({"g": 12, "i": 4, "o": 4, "e": 4}, {"num_heads": 2}, None),
        (*(f"{name}_proj_weight" for name in "qkv"), "bias_k", "bias_v"),
    ),
    "LSTM": ({"g": 20, **GATES}, {}, (3, 4), ("weight_hr",)),
    "GRU": ({"g": 15, **GATES}, {}, (3, 4), ()),
    "RNN": ({"g": 5, **GATES}, {"nonlinearity": "relu"}, (3, 4), ()),
    "LSTMCell": ({"g": 20, **GATES}, {}, (4,), ()),
    "GRUCell": ({"g": 15, **GATES}, {}, (4,), ("bias_ih", "bias_hh")),
    "RNNCell": ({"g": 5, **GATES}, {}, (4,), ()),
}
SPACES = {
    "torch": SimpleNamespace(nn=torch.nn),
    "mindspore": SimpleNamespace(nn=mindspore.nn),
    "mint": SimpleNamespace(nn=mindspore.nn, mint=mindspore.mint),
    "keras": SimpleNamespace(layers=keras.layers),
}
EVERY = [(kind, framework) for kind in SAMPLES for framework in SPACES]


def shape_of(axes, sizes):
    if axes == "*":
        return sizes["*"]
    return tuple(1 if axis == "1" else sizes[axis] for axis in axes)


def sample(kind):
    sizes, attributes, _, absent = SAMPLES[kind]
    suffix = "_l0" if kind in RECURRENT else ""
    shapes = {p.name: shape_of(p.axes, sizes) for p in KINDS[kind].params if p.name not in absent}
    tensors = {name + suffix: ArrayTensor(np.ones(s, np.float32)) for name, s in shapes.items()}
    made = RecurrentLayer if kind.removesuffix("Cell") in RECURRENT else Layer
    return made("m", kind, tensors, dict(attributes))


def said(kind, forms):
    """Return name → shape as the form says it, in its order."""
    sizes, _, _, absent = SAMPLES[kind]
    return {
        slot.name: shape_of(slot.axes, sizes)
        for param, slot in slots(kind, forms)
        if slot and (param.name not in absent or slot.always)
    }


class Net(mindspore.nn.Cell):
    """A layer in a network: alone, some have other parameter names."""

    def __init__(self, m):
        super().__init__()
        self.m = m


def class_of(made):
    return type(made).__name__.removesuffix("Ext")  # as mint's classes are called inside


def built(framework, made, given):
    """Return name → shape as the framework's layer has them."""
    if framework == "torch":
        return {name: tuple(value.shape) for name, value in made.state_dict().items()}
    if framework == "keras":
        made.build((2, *given))
        held = [weight for weight in made.weights if weight.dtype == "float32"]
        return {weight.name: tuple(weight.shape) for weight in held}
    held = Net(made).parameters_and_names()
    return {name.removeprefix("m."): tuple(value.shape) for name, value in held}


@pytest.mark.parametrize(("kind", "framework"), EVERY)
def test_the_layer_that_a_call_builds_has_the_weights_of_its_form(kind, framework):
    forms = dialect(framework).forms
    form, given = forms[kind], SAMPLES[kind][2]
    if form is None:
        assert constructor(sample(kind), forms, forms) == ""
        return
    space = attrgetter(form.call.space)(SPACES[framework])
    made = form.call.build(space, facts_of(sample(kind), forms))
    assert class_of(made) == form.call.name
    if framework == "keras" and not (stored_by_row(kind) or given):
        return  # attention: other axes altogether
    found = {name.removesuffix("_l0"): s for name, s in built(framework, made, given).items()}
    expected = said(kind, forms)
    assert found == expected
    assert framework != "keras" or list(found) == list(expected)  # .weights.h5 numbers them


@pytest.mark.parametrize(("kind", "framework"), EVERY)
def test_the_text_of_a_call_builds_the_same(kind, framework):
    forms = dialect(framework).forms
    text = constructor(sample(kind), forms, forms).replace("shared_axes=?", "")
    if text:
        layers = eval(text, {"__builtins__": {}}, vars(SPACES[framework]))
        made = layers if isinstance(layers, list) else [layers]
        assert forms[kind].call.name in map(class_of, made)
    assert all(isinstance(note, str) for note in unknown(sample(kind), forms))


def test_every_kind_has_a_sample_and_a_column_in_each_dialect():
    assert list(SAMPLES) == list(KINDS)
    assert all(set(row.forms) == set(KINDS) for row in DIALECTS.values())


def test_axes_are_letters_of_the_alphabet_and_arguments_ask_for_parameters():
    for row in DIALECTS.values():
        for kind, form in row.forms.items():
            names = {param.name for param in KINDS[kind].params}
            for param, slot in slots(kind, row.forms):
                assert set(param.axes + (slot.axes if slot else "")) <= set(AXES)
            if form:
                assert set(form.slots) <= names
                asked = {a.fact for a in form.call.keywords.values() if isinstance(a, Has)}
                assert asked <= names
                assert set(form.defaults) | set(form.fixed) <= set(KINDS[kind].hyper)
