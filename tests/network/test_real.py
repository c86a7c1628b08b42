"""Files that nobody here wrote: their networks in torch against Keras's own layers.

Keras 3 loads none of these files and computes hard_sigmoid otherwise; its layers, given the files'
weights and the old function, are the judge.
"""

from __future__ import annotations

import h5py
import numpy as np
import pytest

import ckptconv
from ckptconv.dialects.keras.model_config import entry
from tests.network.written import close, run_torch, written

FILES = [
    *("TrafficFlowPrediction__gru_2a4d4d90", "TrafficFlowPrediction__gru_head"),
    *(f"dl4j__{n}_2" for n in ("bidirectional_lstm_tensorflow", "embedding_lstm_theano")),
    *("dl4j__lstm_tensorflow_2", "dl4j__lstm_theano_1"),
    *(f"dl4j__tfkeras_rnn_{n}" for n in (3, 77, 101, 133, 150, 188)),
]


def old_hard_sigmoid(x):
    from keras import ops

    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def function(name):
    return old_hard_sigmoid if name == "hard_sigmoid" else name


def layer_of(known):
    """Return Keras 3's layer of an old configuration, or None for what computes nothing."""
    import keras

    L, c = keras.layers, known.config  # noqa: N806
    units = c.get("units", c.get("output_dim"))
    if known.class_name == "Bidirectional":
        with keras.saving.custom_object_scope({"old_hard_sigmoid": old_hard_sigmoid}):
            return L.Bidirectional(layer_of(known.inner("layer")), merge_mode=c["merge_mode"])
    if known.class_name in ("LSTM", "GRU", "SimpleRNN"):
        settings = {k: c[k] for k in ("return_sequences", "go_backwards")}
        settings["activation"] = function(c["activation"])
        if known.class_name != "SimpleRNN":
            gates = c.get("recurrent_activation", c.get("inner_activation"))
            settings["recurrent_activation"] = function(gates)
        if known.class_name == "GRU":
            settings["reset_after"] = c.get("reset_after", False)
        return getattr(L, known.class_name)(units, use_bias=c.get("use_bias", True), **settings)
    if known.class_name == "Dense":
        return L.Dense(units, activation=function(c["activation"]))
    if known.class_name == "Embedding":
        return L.Embedding(c["input_dim"], c["output_dim"], mask_zero=c.get("mask_zero", False))
    if known.class_name == "Activation":
        return L.Activation(function(c["activation"]))
    assert known.class_name in ("InputLayer", "Dropout"), known.class_name
    return None


def weights_of(path):
    """Return the file's weights in order; Keras 1's twelve of an LSTM as three."""
    with h5py.File(path) as file:
        root = file["model_weights"]
        names = [n.decode() if isinstance(n, bytes) else n for n in root.attrs["layer_names"]]
        found = []
        for name in names:
            stored = [w.decode() if isinstance(w, bytes) else w
                      for w in root[name].attrs["weight_names"]]  # fmt: skip
            values = {w: root[name][w][()] for w in stored}
            if len(values) == 12:
                parts = [
                    next(v for w, v in values.items() if f"_{letter}_{gate}" in w)
                    for letter in "WUb"
                    for gate in "ifco"
                ]
                found += [np.concatenate(parts[i : i + 4], axis=-1) for i in (0, 4, 8)]
            else:
                found += values.values()
    return found


@pytest.mark.parametrize("name", FILES)
def test_real_file(name, real, tmp_path):
    import keras

    path = real / "keras" / f"{name}.h5"
    inputs = ckptconv.network(path).inputs
    rng = np.random.RandomState(0)
    shape = (2, *(n or 7 for n in inputs[0].shape[1:]))
    given = rng.uniform(-1, 1, shape).astype(np.float32)
    if inputs[0].dtype == "int32":
        given = rng.randint(0, 4, shape).astype(np.int32)
    layers = [layer_of(known) for known in entry(ckptconv.inspect(path).facts.config).layers()]
    model = keras.Sequential([layer for layer in layers if layer is not None])
    model(given)
    model.set_weights(weights_of(path))
    module, weights, _ = written(path, "torch", tmp_path)
    close(run_torch(module, weights, [given]), [model(given).detach().numpy()], 2e-6)
