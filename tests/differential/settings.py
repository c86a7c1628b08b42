"""Networks of one layer of Keras's with settings that nobody thought of: drawn from its own config.

A setting takes what others of its type could be; what Keras refuses is void.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import keras
import numpy as np

from ckptconv import CkptconvError
from tests.differential.keras_models import build, save
from tests.differential.networks import TARGETS, answered, compared, results
from tests.differential.outcome import Case, Generator, Outcome, Result, Void

_STEPS, _IMAGE = (6, 8), (6, 8, 2)
LAYERS: Mapping[str, tuple[Mapping[str, Any], tuple[tuple[int, ...], ...]]] = {
    # layer: settings that it must have, shapes of its inputs
    **{name: ({"units": 4}, (_STEPS,)) for name in ("Dense", "LSTM", "GRU", "SimpleRNN")},
    **{
        f"{name}{rank}D{word}": ({"filters": 4, "kernel_size": 3}, (shape,))
        for name, word in (("Conv", ""), ("SeparableConv", ""), ("Conv", "Transpose"))
        for rank, shape in ((1, _STEPS), (2, _IMAGE))
    },
    **{
        name: ({"kernel_size": 3}, (shape,))
        for name, shape in (("DepthwiseConv1D", _STEPS), ("DepthwiseConv2D", _IMAGE))
    },
    "ConvLSTM1D": ({"filters": 3, "kernel_size": 3}, ((4, 6, 2),)),
    **{
        name: ({}, (_STEPS,))
        for name in (
            *("BatchNormalization", "LayerNormalization", "UnitNormalization"),
            *("RMSNormalization", "PReLU", "LeakyReLU", "ELU", "ReLU", "Softmax", "Flatten"),
            *("MaxPooling1D", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "Masking"),
            *("Cropping1D", "ZeroPadding1D", "UpSampling1D"),
        )
    },
    **{
        name: ({}, (_IMAGE,))
        for name in (
            *("MaxPooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D"),
            *("ZeroPadding2D", "Cropping2D", "UpSampling2D"),
        )
    },
    **{
        name: ({}, (_STEPS, _STEPS))
        for name in (
            *("Attention", "AdditiveAttention", "Concatenate", "Add", "Average"),
            *("Maximum", "Minimum", "Multiply", "Subtract"),
        )
    },
    "AveragePooling1D": ({"pool_size": 2}, (_STEPS,)),
    "AveragePooling2D": ({"pool_size": 2}, (_IMAGE,)),
    "EinsumDense": ({"equation": "abc,cd->abd", "output_shape": (None, 4)}, (_STEPS,)),
    "GroupNormalization": ({"groups": 4}, (_STEPS,)),
    "Activation": ({"activation": "relu"}, (_STEPS,)),
    "MultiHeadAttention": ({"num_heads": 2, "key_dim": 3}, (_STEPS, _STEPS)),
    "Dot": ({"axes": 2}, (_STEPS, _STEPS)),
    "Dropout": ({"rate": 0.3}, (_STEPS,)),
    "SpatialDropout1D": ({"rate": 0.3}, (_STEPS,)),
    "Rescaling": ({"scale": 0.5}, (_STEPS,)),
    "Reshape": ({"target_shape": (8, 6)}, (_STEPS,)),
    "Permute": ({"dims": (2, 1)}, (_STEPS,)),
    "Normalization": ({"mean": 0.1, "variance": 2.0}, (_STEPS,)),
}
_FUNCTIONS = (
    *("relu", "tanh", "linear", "softmax", "gelu", "hard_sigmoid", "selu", "elu", "silu", "glu"),
    *("leaky_relu", "softplus", "relu6", "mish", "log_softmax", "hard_silu", "celu", "sigmoid"),
    *("soft_shrink", "hard_tanh", "tanh_shrink", "hard_shrink", "softsign", "squareplus"),
)
_WORDS = {
    "activation": _FUNCTIONS,
    "recurrent_activation": ("sigmoid", "hard_sigmoid", "relu", "softmax"),
    "padding": ("valid", "same", "causal"),
    "data_format": ("channels_last", "channels_first"),
    "interpolation": ("nearest", "bilinear"),
    "score_mode": ("dot", "concat"),
    "dtype": ("float16", "bfloat16", "float64", "mixed_float16", "int32"),
}
_OTHERS = ("_initializer", "_regularizer", "_constraint")
_KEPT = {
    *("name", "trainable", "seed", "units", "filters", "quantization_config"),
    "variance",  # of nothing, all differences count
}


class Drawn(NamedTuple):
    layer: str
    settings: dict[str, Any]
    masked: bool
    target: str

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return f"{self.layer}({given}){' of masked steps' * self.masked}, to {self.target}"


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:settings")
    name = rng.choice([*LAYERS])
    base, shapes = LAYERS[name]
    config = getattr(keras.layers, name)(**base).get_config()
    possible = {key: others for key, value in config.items() if (others := _others(key, value))}
    chosen = rng.sample([*possible], min(len(possible), rng.randint(1, 3)))
    settings = {**base, **{key: rng.choice(possible[key]) for key in chosen}}
    masked = shapes[0] == _STEPS and rng.random() < 0.3
    return Drawn(name, settings, masked, rng.choice([*TARGETS]))


def _others(key: str, value: Any) -> tuple[Any, ...]:
    """Return what a setting could be instead."""
    if key == "dtype":
        return _WORDS[key]
    if key in _KEPT or key.endswith(_OTHERS):
        return ()
    if key in _WORDS:
        return tuple(word for word in _WORDS[key] if word != value)
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, 2, -1, 0, 1, -2)
    if isinstance(value, float):
        return (value / 2 + 0.1, 0.0)
    if isinstance(value, list | tuple) and value and all(isinstance(n, int) for n in value):
        return (tuple(n + 1 for n in value), (2,) * len(value), (1, *value[1:]), (*value[:-1], 2))
    return (True, 1, 2, 0.5, (1,), (1, 2)) if value is None else ()


def _run(case: Case, tmp: Path) -> Outcome:
    drawn: Drawn = case.data
    seed = zlib.crc32(case.text.encode())
    keras.backend.clear_session(free_memory=False)
    try:
        model = _model(drawn)
        build.fill(model, seed)
        given = [_example(drawn, value.shape[1:], seed + i) for i, value in enumerate(model.inputs)]
        right = results(model, given)
    except Exception as error:
        raise Void(f"not run: {type(error).__name__}") from error
    if not all(np.isfinite(value).all() for value in right):
        raise Void("its own output is not finite")
    path = save.save(model, "keras", tmp)
    try:
        module, weights, _ = answered(path, drawn.target, tmp)
    except CkptconvError as error:
        return Outcome(Result.REFUSED, f"a {drawn.layer}", str(error))
    found = compared([TARGETS[drawn.target](module, weights, given)], [right], drawn.target)
    told = "where this network computes in float32" in module.__doc__
    return Outcome(Result.NOTED) if found.result is Result.SILENT and told else found


def _model(drawn: Drawn) -> Any:
    layers = keras.layers
    inputs = [keras.Input(shape) for shape in LAYERS[drawn.layer][1]]
    values = [layers.Masking()(x) if drawn.masked else x for x in inputs]
    values = [layers.Dense(x.shape[-1], name=f"before_{i}")(x) for i, x in enumerate(values)]
    layer = getattr(layers, drawn.layer)(**drawn.settings)
    several = drawn.layer == "MultiHeadAttention" or len(values) == 1
    made = layer(*values) if several else layer(values)
    if not drawn.masked or not keras.utils.is_keras_tensor(made) or len(made.shape) != 3:
        return keras.Model(inputs, made)
    return keras.Model(inputs, [made, layers.GRU(2)(made)])  # which shows whether a mask is left


def _example(drawn: Drawn, shape: tuple[int, ...], seed: int) -> np.ndarray:
    value = np.random.default_rng(seed).normal(0, 1.5, (3, *shape)).astype("f4")
    if drawn.masked:
        value[1, -2:] = value[2, -3:] = 0
    return value


GENERATOR = Generator(_draw, _run)
