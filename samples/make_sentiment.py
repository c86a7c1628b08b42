"""Make sentiment.h5, as ``model.save`` of Keras 2.1 left it years ago, with hard_sigmoid gates.

usage: python make_sentiment.py [folder]
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np

LAYERS = [
    ("Embedding", "words", {"input_dim": 200, "output_dim": 16, "batch_input_shape": [None, 40]}),
    ("LSTM", "lstm", {"units": 16, "activation": "tanh", "recurrent_activation": "hard_sigmoid"}),
    ("Dense", "positive", {"units": 1, "activation": "sigmoid"}),
]
SHAPES = {
    "words": {"embeddings:0": (200, 16)},
    "lstm": {"kernel:0": (16, 64), "recurrent_kernel:0": (16, 64), "bias:0": (64,)},
    "positive": {"kernel:0": (16, 1), "bias:0": (1,)},
}


def main(folder: Path) -> None:
    rng = np.random.RandomState(0)
    config = [
        {"class_name": kind, "config": {"name": name, **settings}}
        for kind, name, settings in LAYERS
    ]
    with h5py.File(folder / "sentiment.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.1.6", b"tensorflow"
        model = {"class_name": "Sequential", "config": config}
        file.attrs["model_config"] = json.dumps(model).encode()
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = np.array([name.encode() for name in SHAPES])
        for layer, weights in SHAPES.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([f"{layer}/{w}".encode() for w in weights])
            for name, shape in weights.items():
                group[f"{layer}/{name}"] = rng.uniform(-0.5, 0.5, shape).astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
