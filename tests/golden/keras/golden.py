"""Shared by the make_*.py scripts here: the models, their weights, and the oracle files.

Runs on Python 3.6 to 3.13 with numpy alone; the Keras flavour (keras, tf.keras, tf_keras) is
passed in as the module ``keras``.
"""

import json
import os

import numpy as np

VOCAB, EMB, BATCH, STEPS = 20, 6, 2, 5
TOKENS = np.random.RandomState(7).randint(0, VOCAB, (BATCH, STEPS)).astype("int32")


def floats(*shape):
    """A float32 input of this shape (batch first), values in -1..1."""
    return np.random.RandomState(11).uniform(-1, 1, (BATCH, *shape)).astype("float32")


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
    pairs = [(names[i], w) for i, w in enumerate(old)]
    new = [_draw(rng, n, w.shape).astype("float32") for n, w in pairs]
    model.set_weights(new)
    assert all(np.array_equal(w, new[i]) for i, w in enumerate(model.get_weights()))
    return model


def train_once(model, x):
    """Give the model an optimizer with state, then put the seeded weights back."""
    weights = model.get_weights()
    model.compile(optimizer="rmsprop", loss="mse")
    model.train_on_batch(x, np.zeros_like(model.predict(x)))
    model.set_weights(weights)


# ---- oracle ------------------------------------------------------------------------------


class Writer:
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
        assert np.isfinite(y).all()
        assert y.std() > 1e-3
        arrays = {f"w{i:03d}": w for i, w in enumerate(model.get_weights())}
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


def chain(keras, x, layers, name=None):
    y = x
    for layer in layers:
        y = layer(y)
    return fill(keras.models.Model(x, y, **({"name": name} if name else {})))


def tokens(keras):
    return keras.layers.Input(shape=(STEPS,), dtype="int32", name="tokens")


def main_layers(keras, gru=None, act=None, ln=True):
    """``gru``: GRU keywords or False for no GRU; ``act``: keywords for gated layers."""
    act = act or {}
    seq = {"return_sequences": True}
    layers = [
        keras.layers.Embedding(VOCAB, EMB, name="embed"),
        keras.layers.Bidirectional(keras.layers.LSTM(5, name="enc", **dict(seq, **act)), name="bi"),
        keras.layers.LSTM(4, name="lstm_a", **dict(seq, **act)),
    ]
    if gru is not False:
        layers.append(keras.layers.GRU(3, name="gru_a", **dict(seq, **dict(act, **(gru or {})))))
    layers.append(keras.layers.SimpleRNN(4, name="rnn_a", **seq))
    if ln:
        layers.append(keras.layers.LayerNormalization(name="ln"))
    layers.append(keras.layers.BatchNormalization(name="bn"))
    layers.append(keras.layers.Dense(3, name="head"))
    return layers


def main_model(keras, **options):
    return chain(keras, tokens(keras), main_layers(keras, **options))


def main_sequential(keras, **options):
    model = keras.models.Sequential(name="m")
    model.add(
        tokens(keras) if options.pop("input_layer", False) else keras.layers.InputLayer((STEPS,))
    )
    for layer in main_layers(keras, **options):
        model.add(layer)
    return fill(model)


def lstm_only(keras, **act):
    layers = [keras.layers.LSTM(4, name="lstm_a", return_sequences=True, **act)]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def gru_only(keras, **act):
    layers = [keras.layers.GRU(4, name="gru_a", return_sequences=True, **act)]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def bidirectional(keras, merge_mode, **act):
    lstm = keras.layers.LSTM(4, name="enc", return_sequences=True, **act)
    layers = [
        keras.layers.Bidirectional(lstm, merge_mode=merge_mode, name="bi"),
        keras.layers.Dense(2, name="head"),
    ]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def time_distributed(keras, **act):
    layers = [
        keras.layers.LSTM(4, name="lstm_a", return_sequences=True, **act),
        keras.layers.TimeDistributed(keras.layers.Dense(3, name="inner_dense"), name="td"),
    ]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def nested(keras, **act):
    """A model in a model; its BatchNormalization comes before other trainable weights."""
    inner = chain(
        keras,
        keras.layers.Input(shape=(STEPS, EMB), name="inner_x"),
        [
            keras.layers.LSTM(4, name="inner_lstm", return_sequences=True, **act),
            keras.layers.BatchNormalization(name="inner_bn"),
            keras.layers.SimpleRNN(3, name="inner_rnn", return_sequences=True),
            keras.layers.BatchNormalization(name="inner_bn2"),
        ],
        name="encoder",
    )
    layers = [
        keras.layers.Embedding(VOCAB, EMB, name="embed"),
        inner,
        keras.layers.Dense(2, name="head"),
    ]
    return chain(keras, tokens(keras), layers)


def rnn_cells(keras, gru=None):
    """One RNN layer per cell kind."""
    layers = [
        keras.layers.RNN(
            keras.layers.LSTMCell(4, name="lc"), return_sequences=True, name="rnn_lstm"
        ),
        keras.layers.RNN(
            keras.layers.GRUCell(3, name="gc", **(gru or {})), return_sequences=True, name="rnn_gru"
        ),
        keras.layers.RNN(
            keras.layers.SimpleRNNCell(5, name="sc"), return_sequences=True, name="rnn_simple"
        ),
    ]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def stacked_cells(keras, gru=None):
    cells = [keras.layers.LSTMCell(4, name="lc"), keras.layers.GRUCell(3, name="gc", **(gru or {}))]
    layers = [keras.layers.RNN(cells, return_sequences=True, name="stack")]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def conv1d(keras):
    layers = [
        keras.layers.Conv1D(4, 3, padding="same", name="conv", activation="relu"),
        keras.layers.Dense(2, name="head"),
    ]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def conv2d(keras):
    layers = [
        keras.layers.Conv2D(4, (3, 2), name="conv"),
        keras.layers.Conv2DTranspose(2, (2, 3), name="deconv"),
    ]
    return chain(keras, keras.layers.Input(shape=(6, 7, 3), name="x"), layers)


def with_lambda(keras, **act):
    # compiled from text: the marshalled code would hold the path of this file
    twice = eval(compile("lambda t: t * 2.0", "<golden>", "eval"))
    layers = [
        keras.layers.LSTM(4, name="lstm_a", return_sequences=True, **act),
        keras.layers.Lambda(twice, output_shape=(STEPS, 4), name="twice"),
        keras.layers.Dense(2, name="head"),
    ]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3), name="x"), layers)


def counters(keras, count=11, **act):
    """Unnamed layers: 11 LSTM and 2 Dense, so lstm_10 must sort after lstm_9."""
    layers = [keras.layers.Dense(3)]
    layers += [keras.layers.LSTM(2 + i % 2, return_sequences=True, **act) for i in range(count)]
    layers += [keras.layers.Dense(2)]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3)), layers)


def two_unnamed(keras, **act):
    layers = [
        keras.layers.LSTM(4, return_sequences=True, **act),
        keras.layers.LSTM(3, return_sequences=True, **act),
        keras.layers.Dense(2),
    ]
    return chain(keras, keras.layers.Input(shape=(STEPS, 3)), layers)


X3 = floats(STEPS, 3)
X_IMAGE = floats(6, 7, 3)
