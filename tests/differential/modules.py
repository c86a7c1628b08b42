"""Exported programs of one module of torch's with any other arguments that its signature allows.

An argument takes what others of its type could be; what torch refuses, or cannot export, is void.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import nn

from tests.differential.exported import attempt
from tests.differential.networks import TARGETS
from tests.differential.outcome import Case, Generator, Outcome
from tests.networks import fill

_STEPS, _IMAGE, _ROWS, _VOLUME = (2, 4, 6), (2, 4, 6, 7), (3, 4), (2, 4, 3, 5, 4)
_RANKED = {1: _STEPS, 2: _IMAGE, 3: _VOLUME}
_MODULES: Mapping[str, tuple[Mapping[str, Any], tuple[tuple[int, ...], ...]]] = {
    # module: arguments that it must have, shapes of its inputs
    "Linear": ({"in_features": 6, "out_features": 4}, (_STEPS,)),
    "Bilinear": ({"in1_features": 4, "in2_features": 4, "out_features": 3}, (_ROWS, _ROWS)),
    **{n: ({"input_size": 6, "hidden_size": 4}, (_STEPS,)) for n in ("LSTM", "GRU", "RNN")},
    **{n: ({"input_size": 4, "hidden_size": 3}, (_ROWS, (3, 3))) for n in ("GRUCell", "RNNCell")},
    **{
        f"{name}{rank}d": ({"in_channels": 4, "out_channels": 4, "kernel_size": 3}, (shape,))
        for rank, shape in _RANKED.items()
        for name in ("Conv", "ConvTranspose")
    },
    **{
        f"{name}{rank}d": ({"num_features": 4}, (shape,))
        for rank, shape in _RANKED.items()
        for name in ("BatchNorm", "InstanceNorm")
    },
    **{
        f"{name}{rank}d": ({word: 2}, (shape,))
        for rank, shape in _RANKED.items()
        for name, word in (
            *(("MaxPool", "kernel_size"), ("AvgPool", "kernel_size")),
            *(("AdaptiveAvgPool", "output_size"), ("AdaptiveMaxPool", "output_size")),
            *(("ZeroPad", "padding"), ("ReflectionPad", "padding"), ("ReplicationPad", "padding")),
        )
    },
    "ConstantPad1d": ({"padding": 2, "value": 0.5}, (_STEPS,)),
    "LPPool1d": ({"norm_type": 2, "kernel_size": 2}, (_STEPS,)),
    "GroupNorm": ({"num_groups": 2, "num_channels": 4}, (_STEPS,)),
    "LayerNorm": ({"normalized_shape": 6}, (_STEPS,)),
    "RMSNorm": ({"normalized_shape": 6}, (_STEPS,)),
    "LocalResponseNorm": ({"size": 2}, (_IMAGE,)),
    "MultiheadAttention": ({"embed_dim": 6, "num_heads": 2}, (_STEPS,) * 3),
    "TransformerEncoderLayer": ({"d_model": 6, "nhead": 2, "dim_feedforward": 5}, (_STEPS,)),
    "TransformerDecoderLayer": ({"d_model": 6, "nhead": 2, "dim_feedforward": 5}, (_STEPS,) * 2),
    "PReLU": ({}, (_STEPS,)),
    "Threshold": ({"threshold": 0.1, "value": -2.0}, (_STEPS,)),
    **{n: ({"scale_factor": 2}, (_IMAGE,)) for n in ("Upsample", "UpsamplingBilinear2d")},
    "PixelShuffle": ({"upscale_factor": 2}, (_IMAGE,)),
    "Unflatten": ({"dim": 1, "unflattened_size": (2, 2)}, (_STEPS,)),
    **{name: ({}, (_ROWS, _ROWS)) for name in ("CosineSimilarity", "PairwiseDistance")},
    **{
        name: ({}, (_STEPS,))
        for name in (
            *("ReLU", "ReLU6", "ELU", "SELU", "CELU", "GELU", "GLU", "SiLU", "Mish", "Hardtanh"),
            *("Hardshrink", "Hardsigmoid", "Hardswish", "LeakyReLU", "LogSigmoid", "Softplus"),
            *("Softshrink", "Softsign", "Tanhshrink", "Softmax", "LogSoftmax", "Softmin"),
            *("Dropout", "Dropout1d", "Flatten", "Identity", "AlphaDropout"),
        )
    },
}
_WORDS = {
    "padding_mode": ("zeros", "reflect", "replicate", "circular"),
    "nonlinearity": ("tanh", "relu"),
    "approximate": ("none", "tanh"),
    "mode": ("nearest", "bilinear", "bicubic", "nearest-exact"),
    "activation": ("relu", "gelu"),
}
_KEPT = {"device", "dtype", "in_channels", "in_features", "input_size", "num_features", "d_model"}


class Drawn(NamedTuple):
    module: str
    arguments: dict[str, Any]
    target: str

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.module}({given}), to {self.target}"


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:modules")
    name = rng.choice([*_MODULES])
    base, _ = _MODULES[name]
    found = inspect.signature(getattr(nn, name).__init__).parameters
    known = {key: base.get(key, parameter.default) for key, parameter in found.items()}
    if name in ("LSTM", "GRU", "RNN"):  # whose signatures say *args
        known |= {"num_layers": 1, "dropout": 0.0, "bias": True}
        known |= {"batch_first": False, "bidirectional": False}
        known |= {"LSTM": {"proj_size": 0}, "RNN": {"nonlinearity": "tanh"}}.get(name, {})
    possible = {key: others for key, value in known.items() if (others := _others(key, value))}
    chosen = rng.sample([*possible], min(len(possible), rng.randint(1, 3)))
    return Drawn(
        name, {**base, **{k: rng.choice(possible[k]) for k in chosen}}, rng.choice([*TARGETS])
    )


def _others(key: str, value: Any) -> tuple[Any, ...]:
    """Return what an argument could be instead."""
    if key in _KEPT:
        return ()
    if key in _WORDS:
        return tuple(word for word in _WORDS[key] if word != value)
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, 2, -1, 0, 1, (1, 2), (2, 1, 2))
    if key in ("eps", "momentum"):  # MindSpore has none below zero
        return (value / 2 + 0.1,) if value else ()
    if isinstance(value, float):
        return (value / 2 + 0.1, 0.0, -value - 0.5)
    return (True, 1, 2, 0.5, (1, 2)) if value is None else ()


def _run(case: Case, tmp: Path) -> Outcome:
    torch.manual_seed(zlib.crc32(case.text.encode()))
    drawn: Drawn = case.data
    given = tuple(torch.randn(shape) * 1.3 for shape in _MODULES[drawn.module][1])
    return attempt(
        lambda: fill(_Model(drawn)), given, drawn.target, tmp, lambda _: f"a {drawn.module}"
    )


class _Model(nn.Module):
    """The module, after layers that keep shapes."""

    def __init__(self, drawn: Drawn) -> None:
        super().__init__()
        shapes = _MODULES[drawn.module][1]
        self.before = nn.ModuleList(nn.Linear(shape[-1], shape[-1]) for shape in shapes)
        self.made = getattr(nn, drawn.module)(**drawn.arguments)

    def forward(self, *given: Any) -> Any:
        return self.made(*(layer(x) for layer, x in zip(self.before, given, strict=True)))


GENERATOR = Generator(_draw, _run)
