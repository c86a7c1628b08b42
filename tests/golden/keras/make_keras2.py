"""Golden files of standalone Keras 2: ``python make_keras2.py OUTDIR``.

One environment per version; the version that is installed decides what is written:

* Keras 2.3.1, Python 3.7: keras==2.3.1 tensorflow-cpu==1.15.0 h5py==2.10.0 numpy==1.16.6
  protobuf<3.21
* Keras 2.2.4, Python 3.6: keras==2.2.4 tensorflow==1.12.0 h5py==2.10.0 numpy==1.16.6
  protobuf<3.20
* Keras 2.1.6, Python 3.6: keras==2.1.6 tensorflow==1.8.0 h5py==2.10.0 numpy==1.16.6
  protobuf<3.20
"""

import sys

import golden as g
import keras
import keras.backend as K
import tensorflow as tf
from keras import layers as L
from keras.models import Model, Sequential

VERSION = keras.__version__
OLD = VERSION < "2.3"  # recurrent_activation defaults to hard_sigmoid
SIG = {"recurrent_activation": "sigmoid"}
HARD = "recurrent_activation is hard_sigmoid, this version's default"
BLIND = {"ambiguous": "weights only: the file does not tell sigmoid from hard_sigmoid"}
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
        return K.dot(inputs, layer.kernel[:, : layer.units]), list(state)

    L.CuDNNLSTM._process_batch = L.CuDNNGRU._process_batch = stub

    def build(lstm, gru):
        return g._chain(
            L,
            Model,
            L.Input(shape=(g.STEPS, 3), name="x"),
            [lstm, gru, L.Dense(2, name="head")],
        )

    seq = {"return_sequences": True}
    model = build(L.CuDNNLSTM(4, name="lstm_a", **seq), L.CuDNNGRU(5, name="gru_a", **seq))
    plain = build(
        L.LSTM(4, name="lstm_a", **dict(seq, **SIG)),
        L.GRU(5, name="gru_a", reset_after=True, **dict(seq, **SIG)),
    )
    for stem, suffix, layout in (("cudnn", ".h5", LEGACY), ("cudnn_full", ".h5", FULL)):
        path = w.path(stem, suffix)
        (model.save if layout is FULL else model.save_weights)(path)
        plain.load_weights(path)
        why = "CuDNN layers always use sigmoid; the oracle ran in plain LSTM and GRU layers"
        w.record(stem, suffix, model, g.X3, layout, "convert", why, oracle=plain)
    bi = g._chain(
        L,
        Model,
        L.Input(shape=(g.STEPS, 3), name="x"),
        [L.Bidirectional(L.CuDNNLSTM(4, name="enc", **seq), name="bi")],
    )
    plain = g.bidirectional(L, Model, "concat", **SIG)
    plain = Model(plain.inputs[0], plain.layers[1].output)
    bi.save_weights(w.path("cudnn_bi", ".h5"))
    plain.load_weights(w.path("cudnn_bi", ".h5"))
    why = "Bidirectional(CuDNNLSTM); the oracle ran in Bidirectional(LSTM)"
    w.record("cudnn_bi", ".h5", bi, g.X3, LEGACY, "convert", why, oracle=plain)


def main(outdir):
    backend = "TF " + tf.__version__ if K.backend() == "tensorflow" else K.backend()
    prefix = "keras" + VERSION.replace(".", "")
    w = g.Writer(outdir, prefix, "Keras %s / %s" % (VERSION, backend), "make_keras2.py")
    blind = BLIND if OLD else {}
    options = {"gru": {"reset_after": True}, "act": SIG, "ln": False}

    weights(w, "main", g.main_model(L, Model, **options), g.TOKENS, **blind)
    full(w, "main_full", g.main_model(L, Model, **options), g.TOKENS, train=True)
    K.clear_session()
    weights(w, "hard", g.lstm_only(L, Model, recurrent_activation="hard_sigmoid"), g.X3, "refuse",
            "recurrent_activation is hard_sigmoid", **BLIND)
    full(w, "hard_full", g.lstm_only(L, Model, recurrent_activation="hard_sigmoid"), g.X3,
         "refuse", "recurrent_activation is hard_sigmoid")
    if OLD:
        full(w, "default_full", g.lstm_only(L, Model), g.X3, "refuse", HARD)
    full(w, "gru_default_full", g.gru_only(L, Model, **SIG), g.X3, "refuse",
         "GRU with reset_after=False, this version's default")
    weights(w, "gru_default", g.gru_only(L, Model, **SIG), g.X3, "refuse",
            "GRU with reset_after=False, this version's default")
    cudnn(w)
    if OLD:
        return
    full(w, "bi_sum_full", g.bidirectional(L, Model, "sum", **SIG), g.X3, "refuse",
         "Bidirectional with merge_mode sum")
    weights(w, "td", g.time_distributed(L, Model), g.X3)
    weights(w, "nested", g.nested(L, Model), g.TOKENS)
    full(w, "nested_full", g.nested(L, Model), g.TOKENS)
    weights(w, "cells", g.rnn_cells(L, Model, {"reset_after": True}), g.X3)
    full(w, "stacked_full", g.stacked_cells(L, Model, {"reset_after": True}), g.X3)
    weights(w, "conv1d", g.conv1d(L, Model), g.X3)
    weights(w, "conv2d", g.conv2d(L, Model), g.X_IMAGE)
    full(w, "lambda_full", g.with_lambda(L, Model), g.X3, "convert",
         "a Lambda layer with marshalled code in model_config: must not be run")
    weights(w, "dotweights", g.lstm_only(L, Model), g.X3, suffix=".weights.h5",
            layout="legacy h5, in spite of the suffix .weights.h5")
    K.clear_session()
    weights(w, "two_unnamed", g.two_unnamed(L, Model), g.X3)
    weights(w, "seq", g.main_sequential(L, Sequential, **options), g.TOKENS)


if __name__ == "__main__":
    main(sys.argv[1])
