"""Golden files of Keras 3: ``KERAS_BACKEND=tensorflow python make_keras3.py OUTDIR``.

One environment per version, all Python 3.11; the version installed decides what is written:

* keras==3.3.3 tensorflow-cpu==2.16.1: `vars` groups have no `name` attribute
* keras==3.9.2 tensorflow-cpu==2.19.0: they have one
* keras==3.10.0 and keras==3.12.0, both with tensorflow-cpu==2.19.0: sharded weights
"""

import sys

import golden as g
import keras
from keras import Model, layers

VERSION = tuple(int(part) for part in keras.__version__.split("."))
LEGACY, FULL = "legacy h5, Keras 3", "legacy h5, Keras 3, full model (/model_weights)"
GROUPS, ZIP = "weights h5, root layers", "keras zip"
HARD = {"recurrent_activation": "hard_sigmoid"}


class Attributes(Model):
    """A subclassed model: its groups are attribute paths."""

    def __init__(self):
        super().__init__(name="attributes")
        self.table = layers.Embedding(g.VOCAB, g.EMB, name="embed")
        self.encoder = layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="bi")
        self.blocks = [layers.GRU(4, return_sequences=True), layers.LSTM(3, return_sequences=True)]
        self.head = layers.Dense(2, name="head")

    def call(self, x):
        x = self.encoder(self.table(x))
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def attributes():
    model = Attributes()
    model(g.TOKENS)
    return g.fill(model)


def main(outdir):
    prefix = "keras" + keras.__version__.replace(".", "")
    w = g.Writer(
        outdir,
        prefix,
        f"Keras {keras.__version__} / {keras.backend.backend()}",
        "make_keras3.py",
    )

    def weights(
        stem, model, x, must="convert", why="", suffix=".weights.h5", layout=GROUPS, **kwargs
    ):
        model.save_weights(w.path(stem, suffix), **kwargs)
        w.record(stem, suffix, model, x, layout, must, why)

    def full(stem, model, x, must="convert", why="", suffix=".keras", layout=ZIP):
        model.save(w.path(stem, suffix))
        w.record(stem, suffix, model, x, layout, must, why)

    legacy = {"suffix": ".h5", "layout": FULL}
    if VERSION >= (3, 10):
        kind = {"suffix": ".weights.json", "layout": "sharded weights h5"}
        why = "lstm_a is cut: its kernel in one shard, the rest in the next"
        if VERSION < (3, 11):  # this size ends a shard between two layers
            weights("sharded", g.main_model(keras), g.TOKENS, max_shard_size=2.45e-6, **kind)
            why += "; the map of Keras 3.10.0 names the first alone, and Keras cannot load it"
        weights("sharded_cut", g.main_model(keras), g.TOKENS, why=why, max_shard_size=3e-6, **kind)
        return
    model = g.main_model(keras)
    if VERSION < (3, 4):
        g.train_once(model, g.TOKENS)
    weights("l2_main", model, g.TOKENS)
    keras.utils.clear_session()
    g.counters(keras, 2)  # so that the names start at lstm_2, the groups at lstm
    full("zip_counters", g.counters(keras, 3), g.X3)
    if VERSION >= (3, 4):
        weights("l2_attributes", attributes(), g.TOKENS)
        return
    full("zip_main", g.main_model(keras), g.TOKENS)
    full("seq_full", g.main_sequential(keras, input_layer=True), g.TOKENS, **legacy)
    full("nested_full", g.nested(keras), g.TOKENS, **legacy)
    full(
        "hard_full",
        g.lstm_only(keras, **HARD),
        g.X3,
        "refuse",
        "recurrent_activation is hard_sigmoid",
        **legacy,
    )
    full(
        "zip_hard",
        g.lstm_only(keras, **HARD),
        g.X3,
        "refuse",
        "recurrent_activation is hard_sigmoid",
    )
    full(
        "zip_bi_sum",
        g.bidirectional(keras, "sum"),
        g.X3,
        "refuse",
        "Bidirectional with merge_mode sum",
    )
    full(
        "zip_lambda",
        g.with_lambda(keras),
        g.X3,
        "convert",
        "a Lambda layer with marshalled code in config.json: must not be run",
    )
    weights(
        "l2_gru_ra0",
        g.gru_only(keras, reset_after=False),
        g.X3,
        "refuse",
        "GRU with reset_after=False",
    )
    keras.utils.clear_session()
    weights("l2_counters", g.counters(keras, 3), g.X3)
    weights("l2_nested", g.nested(keras), g.TOKENS)
    weights("l2_td", g.time_distributed(keras), g.X3)
    weights("l2_cells", g.rnn_cells(keras), g.X3)
    weights("l2_stacked", g.stacked_cells(keras), g.X3)
    weights("l2_conv1d", g.conv1d(keras), g.X3)
    weights("l2_conv2d", g.conv2d(keras), g.X_IMAGE)


if __name__ == "__main__":
    main(sys.argv[1])
