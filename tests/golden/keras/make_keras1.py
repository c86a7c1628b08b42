"""Golden files of Keras 1 on Theano: ``KERAS_BACKEND=theano python make_keras1.py OUTDIR``.

Python 3.6: keras==1.2.2 theano==0.9.0 numpy==1.16.6 scipy==1.2.3 h5py==2.10.0
Theano compiles with the g++ of the machine (THEANO_FLAGS=cxx= runs without one, slowly).
"""

import sys

import golden as g
import keras
from keras import backend, layers

SIG = {"inner_activation": "sigmoid"}
SEQ = {"return_sequences": True}
LEGACY, FULL = "legacy h5, Keras 1", "legacy h5, Keras 1, full model (/model_weights)"
BLIND = "weights only, from a version where hard_sigmoid is the default"
GRU = "the GRU of Keras 1 is reset_after=False"


def main_layers(consume_less):
    act = dict(SIG, consume_less=consume_less, **SEQ)
    return [
        layers.Embedding(g.VOCAB, g.EMB, name="embed"),
        layers.Bidirectional(layers.LSTM(5, name="enc", **act), name="bi"),
        layers.LSTM(4, name="lstm_a", **act),
        layers.SimpleRNN(4, name="rnn_a", **SEQ),
        layers.BatchNormalization(name="bn"),
        layers.TimeDistributed(layers.Dense(3, name="inner_dense"), name="head"),
    ]


def gates(layer):
    return g.chain(keras, layers.Input(shape=(g.STEPS, 3), name="x"), [layer])


def convolution():
    conv = layers.Convolution2D(4, 3, 2, dim_ordering="tf", name="conv")
    norm = layers.BatchNormalization(name="bn")
    return g.chain(keras, layers.Input(shape=(6, 7, 3), name="x"), [conv, norm])


def main(outdir):
    writer = f"Keras {keras.__version__} / {backend.backend()}"
    w = g.Writer(outdir, "keras" + keras.__version__.replace(".", ""), writer, "make_keras1.py")

    def weights(stem, model, x, must="convert", why="", layout=LEGACY, **more):
        model.save_weights(w.path(stem, ".h5"))
        w.record(stem, ".h5", model, x, layout, must, why, **more)

    def full(stem, model, x, must="convert", why=""):
        model.compile(optimizer="rmsprop", loss="mse")
        model.save(w.path(stem, ".h5"))
        w.record(stem, ".h5", model, x, FULL, must, why)

    model = g.chain(keras, g.tokens(keras), main_layers("cpu"))
    weights("main", model, g.TOKENS, "assume", BLIND)
    full("main_full", model, g.TOKENS)
    model = g.chain(keras, g.tokens(keras), main_layers("gpu"))
    weights(
        "gpu",
        model,
        g.TOKENS,
        "assume",
        BLIND,
        LEGACY + ", consume_less=gpu (3 arrays)",
    )
    full("gpu_full", model, g.TOKENS, why="consume_less=gpu: 3 arrays per LSTM")
    full(
        "default_full",
        gates(layers.LSTM(4, name="lstm_a", **SEQ)),
        g.X3,
        "refuse",
        "inner_activation is hard_sigmoid, this version's default",
    )
    gru = layers.GRU(4, name="gru_a", **dict(SEQ, **SIG))
    weights("gru", gates(gru), g.X3, "refuse", GRU)
    full("gru_full", gates(gru), g.X3, "refuse", GRU)
    gru = layers.GRU(4, name="gru_a", consume_less="gpu", **dict(SEQ, **SIG))
    weights("gru_gpu", gates(gru), g.X3, "refuse", GRU)
    weights("rnn", gates(layers.SimpleRNN(4, name="rnn_a", **SEQ)), g.X3)
    full(
        "conv2d_full",
        convolution(),
        g.X_IMAGE,
        "refuse",
        "Theano flips convolution kernels and a Keras 1 file does not name its backend",
    )


if __name__ == "__main__":
    main(sys.argv[1])
