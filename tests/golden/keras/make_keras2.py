"""Golden files of standalone Keras 2: ``python make_keras2.py OUTDIR``.

One environment per version; the version that is installed decides what is written:

* Keras 2.3.1, Python 3.7: keras==2.3.1 tensorflow-cpu==1.15.0 h5py==2.10.0 numpy==1.16.6
  protobuf<3.21; and once more with KERAS_BACKEND=theano and theano==1.0.5
* Keras 2.2.4, Python 3.6: keras==2.2.4 tensorflow==1.12.0 h5py==2.10.0 numpy==1.16.6
  protobuf<3.20
* Keras 2.1.6, Python 3.6: keras==2.1.6 tensorflow==1.8.0 h5py==2.10.0 numpy==1.16.6
  protobuf<3.20
"""

import sys

import golden as g
import keras
from keras import backend, layers
from keras.models import Model

VERSION = keras.__version__
OLD = VERSION < "2.3"  # recurrent_activation defaults to hard_sigmoid
SIG = {"recurrent_activation": "sigmoid"}
HARD = "recurrent_activation is hard_sigmoid, this version's default"
BLIND = "weights only, from a version where hard_sigmoid is the default"
OPTIONS = {"gru": {"reset_after": True}, "act": SIG, "ln": False}
PREFIX = "keras" + VERSION.replace(".", "")
LEGACY, FULL = "legacy h5", "legacy h5, full model (/model_weights)"


def weights(w, stem, model, x, must="convert", why="", layout=LEGACY, suffix=".h5", **more):
    model.save_weights(w.path(stem, suffix))
    w.record(stem, suffix, model, x, layout, must, why, **more)


def full(w, stem, model, x, must="convert", why="", train=False, **more):
    if train:
        g.train_once(model, x)
    model.save(w.path(stem, ".h5"))
    w.record(stem, ".h5", model, x, FULL, must, why, **more)


def cudnn(w):
    """CuDNN layers can be built and saved without a GPU, but not run.

    Their op is stubbed, for a graph that holds it runs nothing on a CPU; variables and saving
    are Keras's own. The oracle is the same file loaded by Keras into plain LSTM and GRU layers.
    """

    def stub(layer, inputs, state):
        return backend.dot(inputs, layer.kernel[:, : layer.units]), list(state)

    layers.CuDNNLSTM._process_batch = layers.CuDNNGRU._process_batch = stub

    def build(lstm, gru):
        return g.chain(
            keras,
            layers.Input(shape=(g.STEPS, 3), name="x"),
            [lstm, gru, layers.Dense(2, name="head")],
        )

    seq = {"return_sequences": True}
    model = build(
        layers.CuDNNLSTM(4, name="lstm_a", **seq), layers.CuDNNGRU(5, name="gru_a", **seq)
    )
    plain = build(
        layers.LSTM(4, name="lstm_a", **dict(seq, **SIG)),
        layers.GRU(5, name="gru_a", reset_after=True, **dict(seq, **SIG)),
    )
    for stem, suffix, layout in (("cudnn", ".h5", LEGACY), ("cudnn_full", ".h5", FULL)):
        path = w.path(stem, suffix)
        (model.save if layout is FULL else model.save_weights)(path)
        plain.load_weights(path)
        why = "CuDNN layers always use sigmoid; the oracle ran in plain LSTM and GRU layers"
        w.record(stem, suffix, model, g.X3, layout, "convert", why, oracle=plain)
    bi = g.chain(
        keras,
        layers.Input(shape=(g.STEPS, 3), name="x"),
        [layers.Bidirectional(layers.CuDNNLSTM(4, name="enc", **seq), name="bi")],
    )
    plain = g.bidirectional(keras, "concat", **SIG)
    plain = Model(plain.inputs[0], plain.layers[1].output)
    bi.save_weights(w.path("cudnn_bi", ".h5"))
    plain.load_weights(w.path("cudnn_bi", ".h5"))
    why = "Bidirectional(CuDNNLSTM); the oracle ran in Bidirectional(LSTM)"
    w.record("cudnn_bi", ".h5", bi, g.X3, LEGACY, "convert", why, oracle=plain)


def theano(outdir):
    """Theano flips convolution kernels: the numbers are not TensorFlow's."""
    import theano

    name = f"Keras {VERSION} / Theano {theano.__version__}"
    w = g.Writer(outdir, PREFIX + "_theano", name, "make_keras2.py")
    weights(w, "lstm", g.lstm_only(keras), g.X3)
    why = "@backend is theano: convolution kernels have to be flipped"
    weights(w, "conv1d", g.conv1d(keras), g.X3, "convert", why)
    weights(w, "conv2d", g.conv2d(keras), g.X_IMAGE, "convert", why)


def tensorflow(outdir):
    import tensorflow as tf

    w = g.Writer(outdir, PREFIX, f"Keras {VERSION} / TF {tf.__version__}", "make_keras2.py")
    if OLD:
        full(w, "default_full", g.lstm_only(keras), g.X3, "refuse", HARD)
        weights(w, "default", g.lstm_only(keras), g.X3, "assume", BLIND + "; it is hard here")
    else:
        weights(w, "main", g.main_model(keras, **OPTIONS), g.TOKENS)
        full(
            w,
            "hard_full",
            g.lstm_only(keras, recurrent_activation="hard_sigmoid"),
            g.X3,
            "refuse",
            "recurrent_activation is hard_sigmoid",
        )
    full(w, "main_full", g.main_model(keras, **OPTIONS), g.TOKENS, train=not OLD)
    full(
        w,
        "gru_default_full",
        g.gru_only(keras, **SIG),
        g.X3,
        "refuse",
        "GRU with reset_after=False, this version's default",
    )
    if VERSION < "2.2":
        return
    cudnn(w)
    if OLD:
        weights(w, "main", g.main_model(keras, **OPTIONS), g.TOKENS, "assume", BLIND)
        return
    weights(
        w,
        "gru_default",
        g.gru_only(keras, **SIG),
        g.X3,
        "refuse",
        "GRU with reset_after=False, this version's default",
    )
    full(
        w,
        "bi_sum_full",
        g.bidirectional(keras, "sum", **SIG),
        g.X3,
        "refuse",
        "Bidirectional with merge_mode sum",
    )
    weights(w, "td", g.time_distributed(keras), g.X3)
    weights(w, "nested", g.nested(keras), g.TOKENS)
    full(w, "nested_full", g.nested(keras), g.TOKENS)
    weights(w, "cells", g.rnn_cells(keras, {"reset_after": True}), g.X3)
    full(w, "stacked_full", g.stacked_cells(keras, {"reset_after": True}), g.X3)
    weights(w, "conv1d", g.conv1d(keras), g.X3)
    weights(w, "conv2d", g.conv2d(keras), g.X_IMAGE)
    full(
        w,
        "lambda_full",
        g.with_lambda(keras),
        g.X3,
        "convert",
        "a Lambda layer with marshalled code in model_config: must not be run",
    )
    weights(
        w,
        "dotweights",
        g.lstm_only(keras),
        g.X3,
        suffix=".weights.h5",
        layout="legacy h5, in spite of the suffix .weights.h5",
    )
    backend.clear_session()
    weights(w, "two_unnamed", g.two_unnamed(keras), g.X3)
    weights(w, "seq", g.main_sequential(keras, **OPTIONS), g.TOKENS)


if __name__ == "__main__":
    (tensorflow if backend.backend() == "tensorflow" else theano)(sys.argv[1])
