"""Networks of Keras layers that hold numbers in their settings, or a weight without a name."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest

import ckptconv
from tests.differential.keras_models import save
from tests.network.test_features import fill
from tests.network.written import close, run_mindspore, run_torch, written


@pytest.mark.parametrize("target", ["torch", "mindspore"])
@pytest.mark.parametrize("way", ["keras", "h5"])
def test_a_weight_without_a_name(way, target, tmp_path):
    import keras

    scale = importlib.import_module("keras.src.applications.convnext").LayerScale
    norm = keras.layers.Normalization(mean=[0.5, -1.0, 2.0], variance=[0.25, 4.0, 9.0])
    model = keras.Sequential([keras.Input((4, 3)), norm, scale(0.1, 3), keras.layers.Dense(2)])
    fill(model)
    module, weights, _ = written(save.save(model, way, tmp_path), target, tmp_path)
    given = np.linspace(-2, 3, 24, dtype="f4").reshape(2, 4, 3)
    found = {"torch": run_torch, "mindspore": run_mindspore}[target](module, weights, [given])
    close(found, [np.asarray(model(given).detach())], 2e-6)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"mean": 0.5, "variance": -1.0}, "a variance below zero"),
        ({"mean": [0.5, 0.1], "variance": [1.0, 2.0]}, "3 features by 2 numbers"),
        ({"mean": [0.5] * 4, "variance": [1.0] * 4, "axis": [1]}, "an axis that is not the last"),
        ({"mean": [[0.5] * 3], "variance": [1.0] * 3}, "mean is no number"),
        ({"mean": [0.5] * 3, "variance": [1.0] * 2}, "3 features by 2 numbers"),
        ({"mean": 0.5, "variance": [1.0] * 3}, "a mean and variance of other sizes"),
    ],
)
def test_numbers_that_are_no_normalization(said, problem, tmp_path):
    import keras

    norm = keras.layers.Normalization(mean=0.5, variance=1.0, name="norm")
    model = keras.Sequential([keras.Input((4, 3)), norm, keras.layers.Dense(2)])
    config = json.loads(model.to_json()) | {"keras_version": keras.__version__}
    config["config"]["layers"][1]["config"].update(said)
    model.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(json.dumps(config))
    with pytest.raises(ckptconv.CkptconvError, match=problem):
        written(tmp_path / "m.weights.h5", "torch", tmp_path, config=tmp_path / "m.json")


def test_interpolation_of_old_has_other_pixels(tmp_path):
    """TensorFlow 1 counts from the corners of pixels."""
    import keras

    made = keras.layers.UpSampling2D(2, interpolation="bilinear", name="up")
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1), made])
    model.save_weights(tmp_path / "m.weights.h5")
    for version, is_old in (("2.2.4", True), (keras.__version__, False)):
        config = json.loads(model.to_json()) | {"keras_version": version}
        (tmp_path / "m.json").write_text(json.dumps(config))
        asked = {"config": tmp_path / "m.json"}
        if is_old:
            with pytest.raises(ckptconv.CkptconvError, match=r"up: .*a Keras before 2\.4"):
                written(tmp_path / "m.weights.h5", "torch", tmp_path, **asked)
        else:
            written(tmp_path / "m.weights.h5", "torch", tmp_path, **asked)
