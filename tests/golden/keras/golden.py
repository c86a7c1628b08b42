"""Shared by the make_*.py scripts here: the models, their weights, and the oracle files.

Runs on Python 3.6 to 3.13 with numpy alone; the Keras flavour is passed in as ``L`` (its
``layers`` module) and ``Model`` (its functional ``Model`` class).
"""

import json
import os

import numpy as np

VOCAB, EMB, BATCH, STEPS = 20, 6, 2, 5
TOKENS = np.random.RandomState(7).randint(0, VOCAB, (BATCH, STEPS)).astype("int32")


def floats(*shape):
    """A float32 input of this shape (batch first), values in -1..1."""
    return np.random.RandomState(11).uniform(-1, 1, (BATCH,) + shape).astype("float32")


# ---- weights -----------------------------------------------------------------------------


def _draw(rng, name, shape):
    last = name.split("/")[-1]
    if "gamma" in last:
        return rng.uniform(0.6, 1.4, shape)
    if "variance" in last or "running_std" in last:
        return rng.uniform(0.5, 2.0, shape)
    if "embeddings" in last or tuple(shape) == (VOCAB, EMB):
        return rng.uniform(-1, 1, shape)
    if len(shape) == 1 or "bias" in last:  # off centre: a mean of about 0.15, never zero
        return rng.uniform(0.05, 0.5, shape) * np.where(rng.uniform(0, 1, shape) < 0.25, -1, 1)
    return rng.uniform(-0.5, 0.5, shape)


def variables(model):
    """The model's variables in the order of its get_weights()."""
    first = getattr(model, "weights", None) or []
    if first and hasattr(first[0], "path"):  # Keras 3
        return list(first)
    return [var for layer in model.layers for var in layer.weights]


def fill(model, seed=1):
    """Seeded, distinct weights: the same numbers for the same model in every version."""
    rng = np.random.RandomState(seed)
    old = model.get_weights()
    names = [var.name for var in variables(model)]
    assert len(old) == len(names), (len(old), names)
    new = [_draw(rng, n, w.shape).astype("float32") for n, w in zip(names, old)]
    model.set_weights(new)
    for kept, wanted in zip(model.get_weights(), new):
        assert np.array_equal(kept, wanted)
    return model


def train_once(model, x):
    """Give the model an optimizer with state, then put the seeded weights back."""
    weights = model.get_weights()
    model.compile(optimizer="adam", loss="mse")
    model.train_on_batch(x, np.zeros_like(model.predict(x)))
    model.set_weights(weights)


# ---- oracle ------------------------------------------------------------------------------


class Writer(object):
    """Writes ``<stem>.npz`` and ``<stem>.json`` beside each weight file."""

    def __init__(self, outdir, prefix, writer, script):
        self.outdir, self.prefix, self.writer, self.script = outdir, prefix, writer, script

    def path(self, stem, suffix):
        return os.path.join(self.outdir, self.prefix + "_" + stem + suffix)

    def record(self, stem, suffix, model, x, layout, must="convert", why="", oracle=None, **more):
        """Describe the file just saved at ``path(stem, suffix)``.

        ``oracle`` is another model to predict with, when this one cannot run here.
        """
        y = np.asarray((oracle or model).predict(x), dtype="float32")
        assert np.isfinite(y).all() and y.std() > 1e-3
        arrays = {"w%03d" % i: w for i, w in enumerate(model.get_weights())}
        np.savez_compressed(self.path(stem, ".npz"), x=x, y=y, **arrays)
        entry = {
            "writer": self.writer,
            "file": self.prefix + "_" + stem + suffix,
            "layout": layout,
            "script": self.script,
            "must": must,
            "why": why,
            "layers": [layer.name for layer in model.layers],
        }
        entry.update(more)
        with open(self.path(stem, ".json"), "w") as f:
            f.write(json.dumps(entry, indent=1, sort_keys=True) + "\n")
        print(entry["file"], os.path.getsize(self.path(stem, suffix)), must)


# ---- models ------------------------------------------------------------------------------


def _chain(L, Model, x, layers, name=None):
    y = x
    for layer in layers:
        y = layer(y)
    return fill(Model(x, y, name=name) if name else Model(x, y))


def tokens(L):
    return L.Input(shape=(STEPS,), dtype="int32", name="tokens")


def main_layers(L, gru=None, act=None, ln=True):
    """``gru``: GRU keywords or False for no GRU; ``act``: keywords for gated layers."""
    act = act or {}
    seq = {"return_sequences": True}
    layers = [
        L.Embedding(VOCAB, EMB, name="embed"),
        L.Bidirectional(L.LSTM(5, name="enc", **dict(seq, **act)), name="bi"),
        L.LSTM(4, name="lstm_a", **dict(seq, **act)),
    ]
    if gru is not False:
        layers.append(L.GRU(3, name="gru_a", **dict(seq, **dict(act, **(gru or {})))))
    layers.append(L.SimpleRNN(4, name="rnn_a", **seq))
    if ln:
        layers.append(L.LayerNormalization(name="ln"))
    return layers + [L.BatchNormalization(name="bn"), L.Dense(3, name="head")]


def main_model(L, Model, **options):
    return _chain(L, Model, tokens(L), main_layers(L, **options))


def main_sequential(L, Sequential, **options):
    model = Sequential(name="m")
    model.add(tokens(L) if options.pop("input_layer", False) else L.InputLayer((STEPS,)))
    for layer in main_layers(L, **options):
        model.add(layer)
    return fill(model)


def lstm_only(L, Model, **act):
    layers = [L.LSTM(4, name="lstm_a", return_sequences=True, **act)]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def gru_only(L, Model, **act):
    layers = [L.GRU(4, name="gru_a", return_sequences=True, **act)]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def bidirectional(L, Model, merge_mode, **act):
    lstm = L.LSTM(4, name="enc", return_sequences=True, **act)
    layers = [L.Bidirectional(lstm, merge_mode=merge_mode, name="bi"), L.Dense(2, name="head")]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def time_distributed(L, Model, **act):
    layers = [
        L.LSTM(4, name="lstm_a", return_sequences=True, **act),
        L.TimeDistributed(L.Dense(3, name="inner_dense"), name="td"),
    ]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def nested(L, Model, **act):
    """A model in a model; its BatchNormalization comes before other trainable weights."""
    inner = _chain(
        L,
        Model,
        L.Input(shape=(STEPS, EMB), name="inner_x"),
        [
            L.LSTM(4, name="inner_lstm", return_sequences=True, **act),
            L.BatchNormalization(name="inner_bn"),
            L.SimpleRNN(3, name="inner_rnn", return_sequences=True),
            L.BatchNormalization(name="inner_bn2"),
        ],
        name="encoder",
    )
    layers = [L.Embedding(VOCAB, EMB, name="embed"), inner, L.Dense(2, name="head")]
    return _chain(L, Model, tokens(L), layers)


def rnn_cells(L, Model, gru=None):
    """One RNN layer per cell kind."""
    layers = [
        L.RNN(L.LSTMCell(4, name="lc"), return_sequences=True, name="rnn_lstm"),
        L.RNN(L.GRUCell(3, name="gc", **(gru or {})), return_sequences=True, name="rnn_gru"),
        L.RNN(L.SimpleRNNCell(5, name="sc"), return_sequences=True, name="rnn_simple"),
    ]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def stacked_cells(L, Model, gru=None):
    cells = [L.LSTMCell(4, name="lc"), L.GRUCell(3, name="gc", **(gru or {}))]
    layers = [L.RNN(cells, return_sequences=True, name="stack")]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def conv1d(L, Model):
    layers = [
        L.Conv1D(4, 3, padding="same", name="conv", activation="relu"),
        L.Dense(2, name="head"),
    ]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def conv2d(L, Model):
    layers = [
        L.Conv2D(4, (3, 2), name="conv"),
        L.Conv2DTranspose(2, (2, 3), name="deconv"),
    ]
    return _chain(L, Model, L.Input(shape=(6, 7, 3), name="x"), layers)


def with_lambda(L, Model, **act):
    layers = [
        L.LSTM(4, name="lstm_a", return_sequences=True, **act),
        L.Lambda(lambda t: t * 2.0, output_shape=(STEPS, 4), name="twice"),
        L.Dense(2, name="head"),
    ]
    return _chain(L, Model, L.Input(shape=(STEPS, 3), name="x"), layers)


def counters(L, Model, count=12, **act):
    """Unnamed layers: 12 LSTM and 2 Dense, so lstm_10 must sort after lstm_9."""
    layers = [L.Dense(3)]
    layers += [L.LSTM(2 + i % 2, return_sequences=True, **act) for i in range(count)]
    layers += [L.Dense(2)]
    return _chain(L, Model, L.Input(shape=(STEPS, 3)), layers)


def two_unnamed(L, Model, **act):
    layers = [
        L.LSTM(4, return_sequences=True, **act),
        L.LSTM(3, return_sequences=True, **act),
        L.Dense(2),
    ]
    return _chain(L, Model, L.Input(shape=(STEPS, 3)), layers)


X3 = floats(STEPS, 3)
X_IMAGE = floats(6, 7, 3)
