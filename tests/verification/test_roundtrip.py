"""There and back through another framework's file, and the same conversion twice: no bit changes.

One file holds the whole matrix of recurrent layers, since none of them is run except where a bias
comes back as a sum.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import ckptconv
from tests import networks as n

MATRIX = list(itertools.product(n.KINDS, (1, 2, 3), (1, 2), (True, False)))
PLAIN = {"embed": "Embedding", "fc": "Linear"}
BARE_GRU = "GRU(reset_after=True)"
"""What the weights of a GRU without biases do not tell in Keras."""


def path_of(kind, layers, directions, bias):
    return f"{kind.replace(' ', '_')}_{layers}_{directions}_{'bias' if bias else 'bare'}".lower()


@pytest.fixture(scope="module")
def modules():
    return {path_of(*case): n.torch_recurrent(*case, seed=i) for i, case in enumerate(MATRIX)} | {
        "embed": n.fill(torch.nn.Embedding(7, 5)),
        "fc": n.fill(torch.nn.Linear(4, 3)),
    }


@pytest.fixture(scope="module")
def torch_file(modules, tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "m.pt"
    torch.save(torch.nn.ModuleDict(modules).state_dict(), path)
    return path


@pytest.mark.parametrize("middle", ["m.ckpt", "m.safetensors"])
def test_torch_mindspore_torch(tmp_path, torch_file, modules, middle):
    ckptconv.convert(torch_file, tmp_path / middle, to="mindspore", kinds=PLAIN)
    ckptconv.convert(tmp_path / middle, tmp_path / "b.pt", to="torch")
    loaded = torch.load(tmp_path / "b.pt", weights_only=True)
    expected = torch.nn.ModuleDict(modules).state_dict()
    in_order = list if middle == "m.ckpt" else sorted  # safetensors sorts the names
    assert in_order(loaded) == in_order(expected)
    for name, value in expected.items():
        assert loaded[name].numpy().tobytes() == value.numpy().tobytes(), name


def back_from_keras(middle, target, **options):
    """Convert Keras's layers to torch's, of which the weights alone do not tell the order."""
    kinds = {}
    for kind, layers, directions, bias in MATRIX:
        path = path_of(kind, layers, directions, bias)
        parts = [path] if layers == 1 else [f"{path}_l{k}" for k in range(layers)]
        kinds |= dict.fromkeys(parts, BARE_GRU) if kind == "GRU" and not bias else {}
    return ckptconv.convert(middle, target, to="torch", kinds=kinds, **options)


def stacked(loaded, path, layers):
    """Return the layers ``path_l0``, ``path_l1`` … as the state_dict of one of several."""
    return {
        name.partition(".")[2].replace("_l0", f"_l{k}"): value
        for k, part in enumerate([path] if layers == 1 else [f"{path}_l{k}" for k in range(layers)])
        for name, value in loaded.items()
        if name.startswith(f"{part}.")
    }


@pytest.mark.parametrize("middle", ["m.h5", "m.weights.h5"])
def test_torch_keras_torch(tmp_path, torch_file, modules, middle):
    """Without the report the two biases come back as their sum and zeros; with it, bit for bit."""
    report = ckptconv.convert(torch_file, tmp_path / middle, to="keras", kinds=PLAIN)
    back_from_keras(tmp_path / middle, tmp_path / "b.pt")
    loaded = torch.load(tmp_path / "b.pt", weights_only=True)
    for case in MATRIX:
        path, source = path_of(*case), modules[path_of(*case)]
        target = n.torch_recurrent(*case, seed=99)
        target.load_state_dict(stacked(loaded, path, case[1]), strict=True)
        summed = case[0] != "GRU"
        for name, value in target.state_dict().items():
            if not (summed and name.startswith("bias_")):
                assert torch.equal(value, source.state_dict()[name])
            elif name.startswith("bias_hh"):
                assert not value.any()
        x, states = n.inputs(*case[:3])
        pairs = zip(n.run_torch(target, x, states), n.run_torch(source, x, states), strict=True)
        for found, expected in pairs:
            n.close(found, expected)
    (tmp_path / "r.json").write_text(json.dumps(report.to_dict()))
    back_from_keras(tmp_path / middle, tmp_path / "c.pt", restore=tmp_path / "r.json")
    loaded = torch.load(tmp_path / "c.pt", weights_only=True)
    for name, value in torch.nn.ModuleDict(modules).state_dict().items():
        assert loaded[name].numpy().tobytes() == value.numpy().tobytes(), name


@pytest.fixture(scope="module")
def keras_model():
    """Return a Keras model of every recurrent layer and the plain ones, with distinct weights."""
    import keras

    layers = keras.layers
    x = keras.Input((4,))
    value = layers.Embedding(7, 4, name="embed")(x)
    for kind, directions, bias in itertools.product(n.KINDS, (1, 2), (True, False)):
        name, _, nonlinearity = kind.partition(" ")
        options = {"activation": nonlinearity} if nonlinearity else {}
        options |= {"return_sequences": True, "use_bias": bias}
        path = path_of(kind, 1, directions, bias)
        cell = getattr(layers, {"RNN": "SimpleRNN"}.get(name, name))
        if directions == 2:
            value = layers.Bidirectional(cell(4, **options), name=path)(value)
        else:
            value = cell(4, name=path, **options)(value)
    value = layers.Conv1D(5, 3, name="conv1d")(value)
    value = layers.LayerNormalization(name="layer_norm")(value)
    value = layers.BatchNormalization(name="bn")(value)
    model = keras.Model(x, layers.Dense(3, name="head")(value))
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(0.1, 0.9, weight.shape) for weight in model.weights])
    return model


KERAS_KINDS = {path_of("GRU", 1, d, False): BARE_GRU for d in (1, 2)}


@pytest.mark.parametrize("back", ["b.h5", "b.weights.h5"])
@pytest.mark.parametrize(("middle", "to"), [("m.pt", "torch"), ("m.ckpt", "mindspore")])
@pytest.mark.parametrize("source", ["k.h5", "k.weights.h5", "k.keras"])
def test_keras_and_back(tmp_path, keras_model, source, middle, to, back):
    (keras_model.save_weights if "weights" in source else keras_model.save)(tmp_path / source)
    kinds = KERAS_KINDS if "weights" in source else {}
    ckptconv.convert(tmp_path / source, tmp_path / middle, to=to, kinds=kinds)
    known = {"layer_norm": "LayerNorm", "conv1d": "Conv1d", "embed": "Embedding", "head": "Linear"}
    ckptconv.convert(tmp_path / middle, tmp_path / back, to="keras", kinds=known)
    expected = [w.numpy() for w in keras_model.weights]
    keras_model.set_weights([np.full(w.shape, 9.0) for w in expected])
    # .weights.h5 does not tell the order of the layers, by which Keras reads .h5.
    by_name = {"by_name": True} if "weights" in source and back == "b.h5" else {}
    keras_model.load_weights(tmp_path / back, **by_name)
    found = [w.numpy() for w in keras_model.weights]
    keras_model.set_weights(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.tobytes() == other.tobytes()


TARGETS = {
    "torch": ("t.pt", "t.safetensors"),
    "mindspore": ("m.ckpt", "m.safetensors"),
    "keras": ("k.h5", "k.weights.h5"),
}
TWICE = """
import sys, ckptconv
for source in sys.argv[2:]:
    for to, names in %r.items():
        for name in names:
            target = f"{sys.argv[1]}/{source.rpartition('.')[2]}_{name}"
            ckptconv.convert(source, target, to=to, kinds={"fc": "Linear"})
""" % (TARGETS,)  # noqa: UP031


def test_twice_the_same_bytes(tmp_path):
    """Two processes, whose sets and dicts of strings differ in order."""
    state = torch.nn.ModuleDict(
        {"lstm": n.torch_recurrent("LSTM", 2, 2), "gru": n.torch_recurrent("GRU", 2),
         "fc": n.fill(torch.nn.Linear(4, 3)), "bn": n.fill(torch.nn.BatchNorm1d(3))}
    ).state_dict()  # fmt: skip
    torch.save(state, tmp_path / "a.pt")
    sources = [tmp_path / "a.pt", tmp_path / "b.ckpt", tmp_path / "c.h5"]
    ckptconv.convert(sources[0], sources[1], to="mindspore")
    ckptconv.convert(sources[0], sources[2], to="keras")
    made = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        command = [sys.executable, "-c", TWICE, tmp_path / seed, *sources]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed})
        made.append({p.name: p.read_bytes() for p in sorted((tmp_path / seed).iterdir())})
    assert len(made[0]) == len(sources) * 6
    assert made[0] == made[1]
