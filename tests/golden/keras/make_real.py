"""What tf_keras computes of the Keras files that others wrote (``tests/conftest.py``: ``real``).

    python3.11 -m venv v && v/bin/pip install tensorflow-cpu==2.21.0 tf_keras==2.21.0
    v/bin/python make_real.py FOLDER_OF_FILES OUTDIR

Writes ``real_networks.npz``: for each file that records its network ``<stem>/x`` and ``<stem>/y``.
Two files are older than tf_keras reads: a GRU of Keras 2.1, which has no ``reset_after``, is built
with reset_after=False; a layer of Keras 1 is renamed, and its twelve arrays are joined by
tf_keras's own conversion.
"""

import json
import os
import sys

os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import h5py
import numpy as np
import tf_keras
from tf_keras.src.saving.legacy.hdf5_format import preprocess_weights_for_loading

BATCH, STEPS = 3, 7
KERAS_1 = {"output_dim": "units", "inner_activation": "recurrent_activation"}


class GRU(tf_keras.layers.GRU):
    def __init__(self, units, reset_after=False, **more):
        super().__init__(units, reset_after=reset_after, **more)


def keras_1(path):
    """A chain of one layer that Keras 1 saved."""
    with h5py.File(path) as file:
        (item,) = json.loads(file.attrs["model_config"])["config"]
        group = file["model_weights"][item["config"]["name"]]
        weights = [group[name][()] for name in group.attrs["weight_names"]]
    kept = ("return_sequences", "go_backwards", "activation", "name")
    config = {new: item["config"][old] for old, new in KERAS_1.items()}
    config.update({key: item["config"][key] for key in kept})
    layer = getattr(tf_keras.layers, item["class_name"])(**config)
    model = tf_keras.Sequential([tf_keras.Input(item["config"]["batch_input_shape"][1:]), layer])
    model.set_weights(preprocess_weights_for_loading(layer, weights, "1", "theano"))
    return model


def load(path):
    with h5py.File(path) as file:
        if "model_config" not in file.attrs:
            return None
        old = str(file.attrs.get("keras_version", "1")).startswith("1")
    if old:
        return keras_1(path)
    return tf_keras.models.load_model(path, compile=False, custom_objects={"GRU": GRU})


def given(model, seed):
    rng = np.random.RandomState(seed)
    shape = (BATCH, *(n or STEPS for n in model.input_shape[1:]))
    first = next(x for x in model.layers if not isinstance(x, tf_keras.layers.InputLayer))
    if isinstance(first, tf_keras.layers.Embedding):
        return rng.randint(0, first.input_dim, shape).astype("int32")
    return rng.uniform(-1, 1, shape).astype("float32")


def main(folder, outdir):
    found = {}
    for seed, name in enumerate(sorted(os.listdir(folder))):
        model = load(os.path.join(folder, name)) if name.endswith(".h5") else None
        if model is None:
            continue
        stem = name[: -len(".h5")]
        found[stem + "/x"] = given(model, seed)
        found[stem + "/y"] = model(found[stem + "/x"]).numpy()
        print(stem, found[stem + "/y"].shape)
    np.savez_compressed(os.path.join(outdir, "real_networks.npz"), **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
