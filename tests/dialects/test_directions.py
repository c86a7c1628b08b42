"""Kinds × layers × directions × bias through every pair of frameworks, judged by the target.

``tests/test_torch2ms.py`` holds torch → MindSpore. Each source is a file that its framework saved,
and runs there once, from initial states that are not zero.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import pytest

import ckptconv
from tests import networks as n

pytest.importorskip("mindspore")
pytest.importorskip("keras")

CASES = list(itertools.product(n.KINDS, (1, 2, 3), (1, 2), (True, False)))
DIRECTIONS = [
    ("torch", "keras"),
    ("mindspore", "torch"),
    ("mindspore", "keras"),
    ("keras", "torch"),
    ("keras", "mindspore"),
]
STEPS = 4
FILES = {
    "torch": ("m.pt",),
    "mindspore": ("m.ckpt",),
    "keras": ("m.h5", "m.weights.h5", "m.keras"),
}
LIMITS = {"torch": 2e-6, "mindspore": 2e-6, "keras": 5e-6}


def given(kind, layers, directions):
    """Return x and the initial states, short enough for MindSpore's loops."""
    x, states = n.inputs(kind, layers, directions)
    return x[:, :STEPS].copy(), states


def draw(shapes, seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(0.07, 0.25, shape).astype("f4") for shape in shapes]


@lru_cache
def keras_model(kind, layers, directions, bias):
    """Return a Keras model from x and the initial states to the outputs and the final states."""
    import keras

    name, _, nonlinearity = kind.partition(" ")
    options = {"return_sequences": True, "return_state": True, "use_bias": bias}
    options |= {"activation": nonlinearity} if nonlinearity else {}
    count = directions * (2 if name == "LSTM" else 1)
    x = value = keras.Input((STEPS, n.FEATURES))
    initial = [keras.Input((n.HIDDEN,)) for _ in range(count * layers)]
    finals = []
    for k in range(layers):
        wrap = directions == 2
        called = {} if wrap else {"name": f"rnn_l{k}"}
        layer = getattr(keras.layers, {"RNN": "SimpleRNN"}.get(name, name))(
            n.HIDDEN, **options, **called
        )
        layer = keras.layers.Bidirectional(layer, name=f"rnn_l{k}") if wrap else layer
        value, *state = layer(value, initial_state=initial[count * k : count * (k + 1)])
        finals += state
    return keras.Model([x, *initial], [value, *finals])


def run_keras(model, x, states):
    """Return [outputs, final h (, final c)] from states (h and c, layer · direction, …)."""
    initial = [state for place in zip(*states, strict=True) for state in place]
    value, *finals = (a.detach().numpy() for a in model([x, *initial]))
    return [value, *(np.stack(finals[i :: len(states)]) for i in range(len(states)))]


# --- sources: what the framework saved, and what it computes


def torch_source(folder, kind, *case):
    import torch

    module = n.torch_recurrent(kind, *case)
    torch.save({f"rnn.{k}": v for k, v in module.state_dict().items()}, folder / "m.pt")
    return n.run_torch(module, *given(kind, *case[:2]))


def mindspore_source(folder, kind, *case):
    import mindspore as ms

    cell = n.mindspore_recurrent(kind, *case)
    parameters = list(cell.get_parameters())
    for parameter, value in zip(parameters, draw([p.shape for p in parameters], 2), strict=True):
        parameter.set_data(ms.Tensor(value))
    ms.save_checkpoint(ms.nn.CellDict({"rnn": cell}), str(folder / "m.ckpt"))
    return n.run_mindspore(cell, *given(kind, *case[:2]))


def keras_source(folder, kind, *case):
    model = keras_model(kind, *case)
    model.set_weights(draw([weight.shape for weight in model.weights], 3))
    for file in FILES["keras"]:
        (model.save_weights if "weights" in file else model.save)(folder / file)
    (folder / "m.json").write_text(model.to_json())
    return run_keras(model, *given(kind, *case[:2]))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    makers = {"torch": torch_source, "mindspore": mindspore_source, "keras": keras_source}

    @lru_cache
    def make(framework, *case):
        folder = tmp_path_factory.mktemp(framework)
        return folder, makers[framework](folder, *case)

    return make


# --- targets: what they compute once the converted file is loaded


def run_in_torch(files, kind, *case):
    import torch

    module = n.torch_recurrent(kind, *case, seed=9)
    loaded = [torch.load(file, weights_only=True) for file in files]
    for state in loaded:
        module.load_state_dict({k.removeprefix("rnn."): v for k, v in state.items()}, strict=True)
        assert all(torch.equal(state[name], value) for name, value in loaded[0].items())
    return n.run_torch(module, *given(kind, *case[:2]))


def run_in_mindspore(files, kind, *case):
    import mindspore as ms

    cell = n.mindspore_recurrent(kind, *case)
    loaded = [n.load_strictly(ms.nn.CellDict({"rnn": cell}), file) for file in files]
    for state in loaded[1:]:
        for name, value in loaded[0].items():
            np.testing.assert_array_equal(state[name].asnumpy(), value.asnumpy())
    return n.run_mindspore(cell, *given(kind, *case[:2]))


def run_in_keras(files, kind, *case):
    model, loaded = keras_model(kind, *case), []
    for file in files:
        model.set_weights([np.full(weight.shape, 9.0) for weight in model.weights])
        model.load_weights(file)
        loaded.append(model.get_weights())
    for one, other in zip(*loaded, strict=True):
        np.testing.assert_array_equal(one, other)
    return run_keras(model, *given(kind, *case[:2]))


RUN = {"torch": run_in_torch, "mindspore": run_in_mindspore, "keras": run_in_keras}


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(map(str, c)))
@pytest.mark.parametrize(("one", "other"), DIRECTIONS, ids=map("2".join, DIRECTIONS))
def test_directions(tmp_path, sources, one, other, case):
    kind, layers, _, bias = case
    folder, expected = sources(one, *case)
    options = {}
    if one == "keras":
        paths = [f"rnn_l{k}" for k in range(layers)]
        options |= {"fuse": [("rnn", paths)], "config": folder / "m.json"}
        if kind == "GRU" and not bias:  # weights alone do not tell of reset_after
            options["kinds"] = dict.fromkeys(paths, "GRU(reset_after=True)")
    targets = []
    for file in FILES[one][: 1 if other == "mindspore" else 3]:
        for name in FILES[other][:2]:  # .keras is not written
            targets.append(tmp_path / f"{len(targets)}{name}")
            ckptconv.convert(folder / file, targets[-1], to=other, **options)
    results = zip(RUN[other](targets, *case), expected, strict=True)
    for found, wanted in results:
        n.close(found, wanted, max(LIMITS[one], LIMITS[other]))
