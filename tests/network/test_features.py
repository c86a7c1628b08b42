"""Features of Keras, many in one model: real Keras against torch and MindSpore."""

from __future__ import annotations

import numpy as np
import pytest

import ckptconv
from tests.network.features import Inputs, features
from tests.network.written import check_text, close, flat, run_torch, uncompiled, written

BATCHES = 12
NAMES = ("x", "z", "v", "image", "tokens")


def arrays(batch=3, seed=1):
    """Return inputs with masked steps before, amid and behind the others."""
    rng = np.random.RandomState(seed)
    shapes = {"x": (6, 3), "z": (6, 3), "v": (5,), "image": (6, 7, 2)}
    made = {k: rng.uniform(-1, 1, (batch, *s)).astype(np.float32) for k, s in shapes.items()}
    for name in ("x", "z"):
        made[name][rng.rand(batch, 6) < 0.3] = 0
        made[name][0, :2], made[name][1, 4:] = 0, 0
    made["tokens"] = rng.randint(0, 9, (batch, 6)).astype(np.int32)
    made["tokens"][0, :3], made["tokens"][1, 3:] = 0, 0
    return made


def fill(model, seed=0):
    rng = np.random.RandomState(seed)
    for weight in model.weights:
        positive = weight.path.endswith(("variance", "gamma"))
        low, high = (0.6, 1.5) if positive else (-0.5, 0.5)
        weight.assign(rng.uniform(low, high, weight.shape).astype(np.float32))
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # a Normalization computes with copies


def model_of(names, path):
    """Save a model of these features; return (how many outputs each has, what Keras gives)."""
    import keras

    known, inputs = features(keras), Inputs(keras)
    outputs = [flat(known[name](inputs)) for name in names]
    outputs.append([keras.layers.Dense(2)(inputs.v)])
    model = keras.Model(inputs.all(), [one for part in outputs for one in part])
    fill(model)
    model.save(path)
    return [len(part) for part in outputs], model


def of_keras(model, given):
    results = model([given[name] for name in NAMES], training=False)
    return [np.asarray(value.detach()) for value in flat(results)]


def check(names, counts, found, wanted, limit):
    start = 0
    assert len(found) == len(wanted)
    for name, count in zip([*names, "head"], counts, strict=True):
        part = slice(start, start + count)
        try:
            close(found[part], wanted[part], limit)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
        start += count


def batch(number):
    import keras

    return sorted(features(keras))[number::BATCHES]


@pytest.mark.parametrize("number", range(BATCHES))
def test_in_torch(number, tmp_path):
    names = batch(number)
    counts, model = model_of(names, tmp_path / "m.keras")
    module, weights, inputs = written(tmp_path / "m.keras", "torch", tmp_path)
    for size in (3, 2):
        given = arrays(size, size)
        found = run_torch(module, weights, [given[name] for name in inputs])
        check(names, counts, found, of_keras(model, given), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(BATCHES))
def test_in_mindspore(number, tmp_path):
    in_mindspore(batch(number), tmp_path, ("mindir", "pynative"))


def test_a_few_in_mindspore(tmp_path):
    few = ["LSTM-sequences-bi-masking", "GRU-reset-before", "halves", "RNN-stacked", "nested",
           "Conv1D-same-2", "MaxPooling1D-same-2", "LSTM-gates-hard_sigmoid",
           "BatchNormalization-volume", "Conv1D-causal-1-then-GRU",
           "ZeroPadding1D-then-GRU"]  # fmt: skip
    in_mindspore(few, tmp_path, ("jit", "mindir", "pynative"))


def in_mindspore(names, folder, ways):
    """Compare in these ways; what ``jit`` compiles, a MINDIR compiles and runs too."""
    import mindspore as ms

    counts, model = model_of(names, folder / "m.keras")
    module, weights, inputs = written(folder / "m.keras", "mindspore", folder)
    module.export(str(weights), str(folder / "m.mindir"))
    opened = {
        "jit": lambda: module.load(str(weights)),
        "mindir": lambda: module.open_mindir(str(folder / "m.mindir")),
        "pynative": lambda: uncompiled(weights.with_suffix(".py")).load(str(weights)),
    }
    for way in ways:
        network = opened[way]()
        for size in (3, 2) if way != "pynative" else (3,):
            given = arrays(size, size)
            results = network(*[ms.Tensor(given[name]) for name in inputs])
            found = [value.asnumpy() for value in flat(results)]
            try:
                check(names, counts, found, of_keras(model, given), 5e-6)
            except AssertionError as error:
                raise AssertionError(f"{way}, batch {size}: {error}") from None


def test_ruff_finds_nothing_at_any_width(tmp_path):
    import keras

    names = sorted(features(keras))
    model_of(names, tmp_path / "m.keras")
    for target, suffix in (("torch", ".pt"), ("mindspore", ".ckpt")):
        text = tmp_path / f"{target}_net.py"
        ckptconv.convert(tmp_path / "m.keras", tmp_path / f"m{suffix}", to=target, network=text)
        check_text(text)
