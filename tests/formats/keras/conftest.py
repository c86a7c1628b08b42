"""One model that Keras saves in each layout that it knows."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def model():
    keras = pytest.importorskip("keras")
    layers = keras.layers
    keras.utils.clear_session()  # automatic names begin anew
    keras.utils.set_random_seed(7)
    built = keras.Sequential(
        [
            layers.Input((None,)),
            layers.Embedding(11, 5),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.LSTM(4, return_sequences=True),
            layers.GRU(3),
            layers.Dropout(0.3, seed=1),
            layers.BatchNormalization(),
            layers.Dense(2),
        ],
        name="m",
    )
    rng = np.random.default_rng(7)
    built.set_weights([rng.uniform(0.1, 1, w.shape).astype("f4") for w in built.weights])
    built.compile("adam", "mse")
    built.optimizer.build(built.trainable_variables)
    return built


@pytest.fixture(scope="session")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / "m.h5")
    model.save(folder / "m.keras")
    model.save_weights(folder / "m.weights.h5")
    model.save_weights(folder / "s.weights.json", max_shard_size=0.000001)
    return folder
