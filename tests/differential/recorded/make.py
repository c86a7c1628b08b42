"""Random graphs of layers of a Keras before 3: the model, what it was given, what it computed."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import layers


def _layers_as_operations() -> ModuleType:
    """Return a ``keras.ops`` of layers: operations of TensorFlow are in no network."""
    made = ModuleType("keras.ops")
    vars(made)["tanh"] = lambda value: layers.Activation("tanh")(value)
    vars(made)["multiply"] = lambda value, number: layers.Rescaling(float(number))(value)
    return made


keras.ops = sys.modules["keras.ops"] = _layers_as_operations()
from tests.differential.graph_models import (  # noqa: E402 - needs keras.ops
    INPUTS,
    STEPS,
    draw_steps,
    example,
    model_of,
)
from tests.differential.graph_steps import FUNCTIONS  # noqa: E402

_OPERATIONS = (
    *("told_mask", "relu_masking", "told_attention", "told_heads", "operators", "weighted"),
    *("last", "part", "flip", "mean", "self", "join_vectors"),
)
"""Steps that an older Keras takes for operations of TensorFlow."""
_POSITIVE = ("gamma", "moving_variance", "variance", "scale")


def fill(model: Any, seed: int) -> None:
    """Give every weight distinct values."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "int" not in weight.dtype.name:
            noise = rng.normal(size=weight.shape) * 0.3
            leaf = weight.name.rpartition("/")[2].partition(":")[0]
            value = np.abs(noise) + 0.6 if leaf in _POSITIVE else noise + 0.07
            weight.assign(value.astype("f4"))
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def make(number: int, folder: Path) -> None:
    """Write model number so-and-so in one of three layouts, and what it computes."""
    rng = Random(f"recorded:{number}")
    keras.backend.clear_session()
    steps = draw_steps(rng, [name for name in FUNCTIONS if name not in _OPERATIONS])
    free = rng.random() < 0.3
    model = model_of(steps, free=free)
    fill(model, number)
    told = {"steps": np.array(str([step.name for step in steps]))}
    for i, given in enumerate(
        (example(STEPS, 3, number), example(STEPS + 3 * free, 4, number + 1))
    ):
        found = model([given[name] for name in INPUTS], training=False)
        told |= {f"in_{i}_{name}": value for name, value in given.items()}
        told |= {f"out_{i}_{k:02}": np.asarray(value) for k, value in enumerate(found)}
    folder.mkdir(parents=True, exist_ok=True)
    if number % 3 == 2:
        model.save_weights(folder / "m.weights.h5")
        (folder / "model.json").write_text(model.to_json())
    else:
        model.save(folder / ("m.h5", "m.keras")[number % 3])
    np.savez(folder / "data.npz", **told)


if __name__ == "__main__":
    where, first, count = Path(sys.argv[1]), *map(int, sys.argv[2:])
    for n in range(first, first + count):
        with suppress(Exception):  # Keras cannot run what it has built
            make(n, where / str(n))
