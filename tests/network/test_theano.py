"""Files of Keras 2 on Theano, made of other files as Keras itself turns one into the other."""

from __future__ import annotations

import h5py
import keras
import numpy as np
import pytest

import ckptconv
from tests.network.test_features import fill
from tests.network.written import close, run_mindspore, run_torch, written

L = keras.layers
RUN = {"torch": run_torch, "mindspore": run_mindspore}
TURNED = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "ConvLSTM2D")
"""Of which ``convert_kernel`` turns what has places; of depthwise ones Theano's backend does."""
LAYERS = {
    "Conv1D": (lambda: L.Conv1D(4, 3, padding="same"), (7, 3)),
    "Conv2D": (lambda: L.Conv2D(4, (3, 2)), (5, 6, 3)),
    "Conv2D same": (lambda: L.Conv2D(4, (3, 5), padding="same"), (5, 6, 3)),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(4, 3, strides=2), (5, 6, 3)),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D((3, 2)), (5, 6, 3)),
    "SeparableConv1D": (lambda: L.SeparableConv1D(4, 3), (7, 3)),
    "SeparableConv2D": (lambda: L.SeparableConv2D(4, (3, 2)), (5, 6, 3)),
    "ConvLSTM2D": (lambda: L.ConvLSTM2D(2, 3, return_sequences=True), (4, 5, 6, 3)),
    "Bidirectional": (lambda: L.Bidirectional(L.ConvLSTM2D(2, 3)), (4, 5, 6, 3)),
}


def of_theano(model: keras.Model, path):
    """Save a model as the same one on Theano had been."""
    model.save(path)
    names = {layer.name for layer in model.layers if type(layer).__name__ in TURNED}
    names |= {layer.name for layer in model.layers if type(layer).__name__ == "Bidirectional"}

    def turn(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim > 2 and {*name.split("/")} & names:
            item[...] = np.flip(item[...], axis=tuple(range(item.ndim - 2)))

    with h5py.File(path, "r+") as file:
        for group in (file, file["model_weights"]):
            group.attrs["backend"] = b"theano"
        file["model_weights"].visititems(turn)
    return path


def built(*layers) -> keras.Model:
    model = keras.Sequential([*layers])
    fill(model)
    return model


@pytest.mark.parametrize("target", RUN)
@pytest.mark.parametrize("case", LAYERS)
def test_kernels_that_theano_turns_round(case, target, tmp_path):
    make, shape = LAYERS[case]
    model = built(keras.Input(shape), make())
    path = of_theano(model, tmp_path / "m.h5")
    module, weights, _ = written(path, target, tmp_path)
    given = np.random.default_rng(0).normal(size=(2, *shape)).astype("f4")
    wanted = [np.asarray(model(given).detach())]
    close(RUN[target](module, weights, [given]), wanted, 2e-5)


REFUSED = {
    "strides": (lambda: L.Conv1D(4, 3, strides=2, padding="same"), (7, 3), False),
    "even": (lambda: L.Conv2D(4, 2, padding="same"), (5, 6, 3), False),
    "even state": (lambda: L.ConvLSTM2D(2, 2), (4, 5, 6, 3), True),
    "pool": (lambda: L.MaxPooling1D(2, padding="same"), (8, 3), True),
    "average": (lambda: L.AveragePooling2D(3, padding="same", strides=1), (6, 6, 3), True),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_theano_pads_otherwise_is_refused(case, tmp_path):
    make, shape, needs_network = REFUSED[case]
    path = of_theano(built(keras.Input(shape), make(), L.Dense(2)), tmp_path / "m.h5")
    with pytest.raises(ckptconv.LossyError, match="pads both sides alike"):
        written(path, "torch", tmp_path)
    if not needs_network:
        with pytest.raises(ckptconv.LossyError, match="pads both sides alike"):
            ckptconv.convert(path, tmp_path / "alone.pt", to="torch")
