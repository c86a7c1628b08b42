"""The layers that random torch models are made of."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from tests.differential.piece import size_of
from tests.differential.torch_models.own import Conv1D, NormedCell, OwnCell, OwnLSTM, Scale, Turned


class Made(NamedTuple):
    """A module, its canonical kind ("" for a user's class), hyper-parameters, input shapes.

    A shape of None is a batch of token numbers. ``wholes``: target → call.
    """

    module: nn.Module
    kind: str
    hyper: dict[str, Any]
    shapes: list[Any]
    wholes: dict[str, str] = {}  # noqa: RUF012


Recipe = Callable[[Random], Made]
_SEQUENCE = (2, 3, 4)


def _recurrent(name: str) -> Recipe:
    def make(rng: Random) -> Made:
        first, options = rng.random() < 0.5, {}
        if name == "RNN" and rng.random() < 0.5:
            options["nonlinearity"] = "relu"
        sizes = {"num_layers": rng.choice([1, 1, 2]), "bias": rng.random() < 0.8}
        both = rng.random() < 0.3
        module = getattr(nn, name)(
            4, size_of(rng), batch_first=first, bidirectional=both, **sizes, **options
        )
        return Made(module, name, {"batch_first": first, **options}, [_SEQUENCE])

    return make


def _cell(name: str) -> Recipe:
    def make(rng: Random) -> Made:
        h, options = size_of(rng), {}
        if name == "RNNCell" and rng.random() < 0.5:
            options["nonlinearity"] = "relu"
        module = getattr(nn, name)(4, h, bias=rng.random() < 0.8, **options)
        states = [(2, h)] * (2 if name == "LSTMCell" else 1)
        return Made(module, name, options, [(2, 4), *states])

    return make


def _linear(rng: Random) -> Made:
    bias, i = rng.random() < 0.6, rng.choice([4, 4, 3, 5])
    return Made(nn.Linear(i, 4, bias=bias), "Linear", {}, [(2, 3, i)])


def _embedding(rng: Random) -> Made:
    padding = rng.choice([None, 0])
    module = nn.Embedding(rng.choice([4, 7]), 4, padding_idx=padding)
    return Made(module, "Embedding", {"padding_idx": padding}, [None])


def _convolution(rank: int, rng: Random) -> Made:
    hyper = {"stride": rng.choice([1, 2]), "padding": rng.choice([0, 1])}
    kind = f"Conv{'Transpose' if rng.random() < 0.4 else ''}{rank}d"
    if "Transpose" in kind and hyper["stride"] > 1 and rng.random() < 0.4:
        hyper["output_padding"] = 1
    i = rng.choice([4, 4, 3])
    module = getattr(nn, kind)(i, 4, 3, bias=rng.random() < 0.7, **hyper)
    return Made(module, kind, hyper, [(2, i, *(5, 4, 6)[:rank])])


def _batch_norm(rank: int, rng: Random) -> Made:
    eps, tracked, affine = rng.choice([1e-5, 1e-3]), rng.random() < 0.9, rng.random() < 0.8
    make = getattr(nn, f"BatchNorm{rank}d")
    module = make(4, eps=eps, affine=affine, track_running_stats=tracked)
    hyper = {"eps": eps, "momentum": 0.1}
    return Made(module, f"BatchNorm{rank}d", hyper, [(3, 4, *(5, 4, 6)[:rank])])


def _layer_norm(rng: Random) -> Made:
    eps = rng.choice([1e-5, 1e-3])
    module = nn.LayerNorm(4, eps=eps, bias=rng.random() < 0.8)
    return Made(module, "LayerNorm", {"eps": eps}, [_SEQUENCE])


def _group_norm(rng: Random) -> Made:
    groups = rng.choice([1, 2])
    return Made(
        nn.GroupNorm(groups, 4), "GroupNorm", {"num_groups": groups, "eps": 1e-5}, [(2, 4, 3, 3)]
    )


def _prelu(rng: Random) -> Made:
    slopes = rng.choice([1, 4])
    shared = {"shared_axes": [1] if slopes > 1 else [1, 2]}
    return Made(nn.PReLU(slopes), "PReLU", shared, [(2, 4, 3)])


def _attention(rng: Random) -> Made:
    module = nn.MultiheadAttention(4, 2, batch_first=True, bias=rng.random() < 0.8)
    return Made(
        module, "MultiheadAttention", {"num_heads": 2, "batch_first": True}, [_SEQUENCE] * 3
    )


def _transformer(rng: Random) -> Made:
    module = nn.TransformerEncoderLayer(4, 2, size_of(rng), 0.0, batch_first=True)
    feed = module.linear1.out_features
    call = f"nn.TransformerEncoderLayer(4, 2, {feed}, 0.0, batch_first=True)"
    return Made(module, "", {}, [_SEQUENCE], {"mindspore": call, "torch": call})


def _own(rng: Random) -> Made:
    style = rng.choice(["mgu", "indrnn", "peephole", "one bias"])
    names = rng.choice([("gamma",), ("gamma", "beta"), ("w",), ("alpha",), ("momentum",)])
    h = size_of(rng)
    module = rng.choice(
        [
            Conv1D(4, h),
            Turned(4, 4),
            Scale(4, *names),
            OwnCell(4, h, style),
            OwnLSTM(4, h, rng.choice(["normed", "peephole"])),
            NormedCell(4, h),
        ]
    )
    return Made(module, "", {}, [(2, 4)])


CONVOLUTIONS = ["conv1", "up1", "deconv", "layer", "proj", "transpose"]
BATCH_NORMS = ["bn", "bn2d", "norm", "ln1", "bn3d"]
RECIPES: dict[str, tuple[Recipe, list[str]]] = {
    # name → (recipe, attributes that a user would give it, and those that mislead)
    "LSTM": (_recurrent("LSTM"), ["lstm", "rnn", "encoder", "fc", "model"]),
    "GRU": (_recurrent("GRU"), ["gru", "decoder", "module", "out"]),
    "RNN": (_recurrent("RNN"), ["rnn", "net", "linear"]),
    "LSTMCell": (_cell("LSTMCell"), ["cell", "lstm_cell", "head"]),
    "GRUCell": (_cell("GRUCell"), ["cell", "update"]),
    "RNNCell": (_cell("RNNCell"), ["cell", "step"]),
    "Linear": (_linear, ["fc", "head", "linear", "embedding.0", "embed", "up", "act", "module.fc"]),
    "Embedding": (_embedding, ["embed", "wte", "lookup", "fc", "value", "embedder._module"]),
    **{f"Conv{n}": (partial(_convolution, n), CONVOLUTIONS) for n in (1, 2, 3)},
    **{f"BatchNorm{n}": (partial(_batch_norm, n), BATCH_NORMS) for n in (1, 2, 3)},
    "LayerNorm": (_layer_norm, ["ln", "norm1", "bn1", "inst_norm", "act"]),
    "GroupNorm": (_group_norm, ["gn", "norm2"]),
    "PReLU": (
        _prelu,
        ["act", "prelu", "norm", "gamma"],
    ),
    "MultiheadAttention": (_attention, ["attn", "self_attn", "linear"]),
    "Transformer": (_transformer, ["layers.0", "block"]),
    "Bilinear": (
        lambda rng: Made(nn.Bilinear(4, 3, size_of(rng)), "Bilinear", {}, [(2, 4), (2, 3)]),
        ["bilinear", "conv"],
    ),
    "own": (_own, ["attn", "gpt.c_fc", "cell", "scale", "layer_norm", "embedding"]),
}
WEIGHTS = [4, 3, 2, 2, 2, 1, 6, 5, 2, 3, 1, 1, 2, 1, 3, 1, 2, 2, 1, 1, 4]
PREFIXES = ["", "", "", "", "model.", "module.", "net.", "network.", "encoder."]


def fill(module: nn.Module, rng: Random) -> None:
    """Give every tensor distinct values, small so that no unit saturates."""
    generator = np.random.default_rng(rng.randrange(1 << 30))
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if not value.is_floating_point() or name.endswith(("_u", "_v", "_mask", "mask")):
                continue
            noise = torch.from_numpy(generator.normal(size=tuple(value.shape)).astype("f4")) * 0.25
            norm = value.dim() == 1 and name.endswith(("weight", "original0", "_g"))
            positive = "running_var" in name or norm
            value.copy_(noise.abs() + 0.6 if positive else noise + 0.07)
        _settle(module.train())
    module.eval()


def _settle(module: nn.Module) -> None:
    """Let spectral norms iterate, as training does: one that fits no weight is all rounding."""
    for part, _ in itertools.product([*module.modules()], range(15)):
        for name in getattr(part, "parametrizations", ()):
            getattr(part, name)
        for hook in part._forward_pre_hooks.values():
            hook(part, ())
