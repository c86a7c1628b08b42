"""verify --run: every layer of every kind in both frameworks, and the user's own Keras model."""

import numpy as np
import pytest

import ckptconv
from ckptconv.dialects import dialect
from ckptconv.graph.forms import slots
from ckptconv.graph.graph import RECURRENT
from ckptconv.verification.frameworks.keras_model import holds_code
from ckptconv.verification.frameworks.torch import Torch
from ckptconv.verification.verify import verify

pytest.importorskip("mindspore")
torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from tests.graph.test_table import SAMPLES, shape_of  # noqa: E402

FILES = {"mindspore": "m.ckpt", "keras": "m.weights.h5", "torch": "n.safetensors"}
UNTOLD = {"keras": ["PReLU", "EmbeddingBag"]}
"""Kinds that the target has, but not as a layer that weights alone build."""
NOT_HERE = {"mindspore": {"EmbeddingBag", *(f"InstanceNorm{n}d" for n in (1, 2, 3))}}
"""Kinds that the target cannot run on a CPU, or has only something like."""


def write_all(path, to):
    """Write a torch file with a layer of each kind that a target has; return the kinds."""
    rng, state, kinds = np.random.default_rng(3), {}, {}
    absent = [kind for kind, form in dialect(to).forms.items() if form is None]
    for kind in (kind for kind in SAMPLES if kind not in (*absent, *UNTOLD.get(to, ()))):
        sizes, said, _, without = SAMPLES[kind]
        suffix = "_l0" if kind in RECURRENT else ""
        for param, slot in slots(kind, dialect("torch").forms):
            if slot and param.name not in without:
                value = rng.uniform(0.2, 1, shape_of(param.axes, sizes)).astype(np.float32)
                value = value if param.axes else np.int64(3)
                state[f"{kind.lower()}.{slot.name}{suffix}"] = torch.from_numpy(np.asarray(value))
        if not kind.startswith(("LSTM", "GRU", "RNN")):
            kinds[kind.lower()] = f"{kind}({', '.join(f'{k}={v!r}' for k, v in said.items())})"
    torch.save(state, path)
    return kinds


@pytest.mark.parametrize("to", FILES)
def test_every_kind_is_run(tmp_path, to):
    kinds = write_all(tmp_path / "m.pt", to)
    target = tmp_path / FILES[to]
    ckptconv.convert(tmp_path / "m.pt", target, to=to, kinds=kinds)
    told = {"keras": {"grucell": "GRUCell(reset_after=True)"}}.get(to)
    report = verify(tmp_path / "m.pt", target, kinds=kinds, target_kinds=told, run=True)
    assert report.ok, [layer.cause for layer in report.layers if not layer.ok]
    left = {layer.kind for layer in report.layers if not layer.runs}
    assert left == NOT_HERE.get(to, set()), report.notes
    total = len(report.layers)
    assert report.verdict.endswith(f"weights equal; {total - len(left)} of {total} layers run")
    assert report.verdict.startswith("the same model: ") == (not left)


@pytest.fixture(scope="module")
def users_model():
    """Return a model with what a weights file alone would not tell, and distinct weights."""
    layers = keras.layers
    x = keras.Input((9,))
    y = layers.Embedding(11, 8, name="embed")(x)
    inner = keras.Sequential(
        [
            keras.Input((None, 8)),
            layers.Dense(6, "relu", name="fc"),
            layers.LayerNormalization(epsilon=0.1, name="ln"),
        ],
        name="inner",
    )
    y = layers.Conv1D(5, 3, strides=2, activation="tanh", name="conv")(inner(y))
    y = layers.BatchNormalization(epsilon=0.2, name="bn")(y)
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="both")(y)
    y = layers.SimpleRNN(3, activation="relu", return_sequences=True, name="rnn")(y)
    y = layers.GRU(4, go_backwards=True, name="gru")(y)
    model = keras.Model(x, layers.Dense(2, "softmax", name="out")(y))
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(0.1, 0.9, weight.shape) for weight in model.weights])
    return model


@pytest.mark.parametrize("target", ["m.pt", "m.ckpt"])
@pytest.mark.parametrize("source", ["k.keras", "k.h5"])
def test_users_own_model_is_run(tmp_path, users_model, source, target):
    users_model.save(tmp_path / source)
    to = "torch" if target == "m.pt" else "mindspore"
    ckptconv.convert(tmp_path / source, tmp_path / target, to=to)
    report = verify(tmp_path / source, tmp_path / target, run=True)
    assert report.ok, [layer.cause for layer in report.layers if not layer.ok]
    assert report.verdict == "the same model: weights equal; 9 of 9 layers run", report.notes


@pytest.mark.parametrize("target", ["m.pt", "m.ckpt"])
def test_users_own_model_is_run_with_rounded_weights(tmp_path, users_model, target):
    users_model.save(tmp_path / "k.keras")
    to = "torch" if target == "m.pt" else "mindspore"
    for dtype in ("float16", "bfloat16"):
        options = {"to": to, "dtype": dtype, "force": True}
        ckptconv.convert(tmp_path / "k.keras", tmp_path / target, **options)
        report = verify(tmp_path / "k.keras", tmp_path / target, run=True)
        assert report.ok, report.failures
        assert report.verdict.endswith("exact rounding; 9 of 9 layers run"), report.notes


SET = {
    # layers of a user's own whose settings are not those that a layer of weights alone has
    "channels first": lambda: keras.layers.GroupNormalization(2, axis=1),
    "averages first": lambda: keras.layers.BatchNormalization(axis=1),
    "unrolled": lambda: keras.layers.Bidirectional(
        keras.layers.SimpleRNN(3, unroll=True, return_sequences=True)
    ),
    "each step": lambda: keras.layers.TimeDistributed(keras.layers.GroupNormalization(-1)),
    "each step's model": lambda: keras.layers.TimeDistributed(
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    ),
    "attention": lambda: _Attention(),
}


class _Attention:
    """Called as the layers beside it."""

    def __call__(self, x):
        return keras.layers.MultiHeadAttention(2, 2)(x, x)


@pytest.mark.parametrize("file", ["k.keras", "k.h5", "beside.weights.h5"])
@pytest.mark.parametrize("what", SET)
def test_settings_are_run(tmp_path, what, file):
    x = keras.Input((6, 4))
    model = keras.Model(x, keras.layers.Dense(2)(SET[what]()(x)))
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(0.1, 0.9, weight.shape) for weight in model.weights])
    source, target, config = tmp_path / file, tmp_path / "m.pt", None
    if file.startswith("beside"):
        model.save_weights(source)
        config = tmp_path / "model.json"
        config.write_text(model.to_json())
    else:
        model.save(source)
    ckptconv.convert(source, target, to="torch", config=config)
    report = verify(source, target, run=True, config=config)
    assert report.ok, [layer.cause for layer in report.layers if not layer.ok]
    assert report.verdict.startswith("the same model: "), report.notes


def test_wrong_constructor_is_caught(tmp_path, users_model, monkeypatch):
    """Equal weights are not enough: what the report says of eps is run, too."""
    users_model.save(tmp_path / "k.keras")
    ckptconv.convert(tmp_path / "k.keras", tmp_path / "m.pt", to="torch")
    call = Torch.call

    def otherwise(self, layer, facts, held, given):
        return call(self, layer, {**facts, "eps": 1e-5}, held, given)

    monkeypatch.setattr(Torch, "call", otherwise)
    report = verify(tmp_path / "k.keras", tmp_path / "m.pt", run=True)
    failed = {layer.kind: layer.cause for layer in report.layers if not layer.ok}
    assert set(failed) == {"LayerNorm", "BatchNorm1d"}
    assert all("computes otherwise than keras" in cause for cause in failed.values())
    assert report.verdict == "NOT the same model"


def test_code_in_a_model_is_not_run(tmp_path):
    """A Lambda is Python code in the file: its model is not loaded, but built again."""
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Lambda(lambda t: t * 2)(x)))
    model.save(tmp_path / "k.h5")
    ckptconv.convert(tmp_path / "k.h5", tmp_path / "m.pt", to="torch")
    report = verify(tmp_path / "k.h5", tmp_path / "m.pt", run=True)
    assert report.verdict == "the same model: weights equal; 1 of 1 layers run"


def test_code_is_known_as_a_layer_and_as_a_function():
    assert holds_code({"layers": [{"class_name": "Lambda"}]})
    assert holds_code({"config": {"activation": {"class_name": "__lambda__", "config": {}}}})
    assert not holds_code({"layers": [{"class_name": "Dense", "name": "lambda"}]})
