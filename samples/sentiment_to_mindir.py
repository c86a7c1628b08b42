"""An old Keras model with hard_sigmoid gates, which nn.LSTM has not, to MindSpore and a MINDIR.

usage: python sentiment_to_mindir.py [folder]
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np

import ckptconv

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")

# What model.save("sentiment.h5") of Keras 2.1 left behind years ago.
layers = [
    ("Embedding", "words", {"input_dim": 200, "output_dim": 16, "batch_input_shape": [None, 40]}),
    ("LSTM", "lstm", {"units": 16, "activation": "tanh", "recurrent_activation": "hard_sigmoid"}),
    ("Dense", "positive", {"units": 1, "activation": "sigmoid"}),
]
config = [
    {"class_name": kind, "config": {"name": name, **settings}} for kind, name, settings in layers
]
shapes = {
    "words": {"embeddings:0": (200, 16)},
    "lstm": {"kernel:0": (16, 64), "recurrent_kernel:0": (16, 64), "bias:0": (64,)},
    "positive": {"kernel:0": (16, 1), "bias:0": (1,)},
}
rng = np.random.RandomState(0)
with h5py.File(folder / "sentiment.h5", "w") as file:
    file.attrs["keras_version"], file.attrs["backend"] = b"2.1.6", b"tensorflow"
    model = {"class_name": "Sequential", "config": config}
    file.attrs["model_config"] = json.dumps(model).encode()
    root = file.create_group("model_weights")
    root.attrs["layer_names"] = np.array([name.encode() for name in shapes])
    for layer, weights in shapes.items():
        group = root.create_group(layer)
        group.attrs["weight_names"] = np.array([f"{layer}/{w}".encode() for w in weights])
        for name, shape in weights.items():
            group[f"{layer}/{name}"] = rng.uniform(-0.5, 0.5, shape).astype(np.float32)

# The weights and the network, in one step.
ckptconv.convert(
    folder / "sentiment.h5",
    folder / "sentiment.ckpt",
    to="mindspore",
    network=folder / "sentiment_net.py",
)

# What is left needs MindSpore alone.
sys.path.insert(0, str(folder))
import mindspore as ms  # noqa: E402
import sentiment_net as net  # noqa: E402

words = rng.randint(0, 200, (3, 40)).astype(np.int32)
now = net.load(str(folder / "sentiment.ckpt"))(ms.Tensor(words)).asnumpy()

net.export(str(folder / "sentiment.ckpt"), str(folder / "sentiment.mindir"))
run = net.open_mindir(str(folder / "sentiment.mindir"))
again = run(ms.Tensor(words)).asnumpy()
print("three texts:", now.ravel().round(4), "| the MINDIR differs by", np.abs(again - now).max())
