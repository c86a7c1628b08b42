"""The layers that random MindSpore models are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import mint, nn

from tests.differential.piece import size_of


class Made(NamedTuple):
    """A Cell, its canonical kind ("" for a user's class), hyper-parameters, input shapes."""

    cell: Any
    kind: str
    hyper: dict[str, Any]
    shapes: list[Any]
    wholes: dict[str, str] = {}  # noqa: RUF012


Recipe = Callable[[Random], Made]
_SEQUENCE = (2, 3, 4)


class Own(nn.Cell):
    """A user's class whose parameters have names that layers have too."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, ms.Parameter(ms.Tensor(np.ones(4, "f4")), name=name))

    def construct(self, x: Any) -> Any:
        for parameter in self.get_parameters():
            x = x * parameter
        return x


class Block(nn.Cell):
    """A convolution and a norm that the user calls bn2d."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, pad_mode="pad", padding=1, has_bias=True)
        self.bn2d = nn.BatchNorm2d(4)

    def construct(self, x: Any) -> Any:
        return self.bn2d(self.conv(x))


def _recurrent(name: str) -> Recipe:
    def make(rng: Random) -> Made:
        first, options = rng.random() < 0.5, {}
        if name == "RNN" and rng.random() < 0.5:
            options["nonlinearity"] = "relu"
        cell = getattr(nn, name)(
            4,
            size_of(rng),
            num_layers=rng.choice([1, 1, 2]),
            has_bias=rng.random() < 0.8,
            batch_first=first,
            bidirectional=rng.random() < 0.3,
            **options,
        )
        return Made(cell, name, {"batch_first": first, **options}, [_SEQUENCE])

    return make


def _cell(name: str) -> Recipe:
    def make(rng: Random) -> Made:
        h = size_of(rng)
        states = [(2, h)] * (2 if name == "LSTMCell" else 1)
        return Made(
            getattr(nn, name)(4, h, has_bias=rng.random() < 0.8), name, {}, [(2, 4), *states]
        )

    return make


def _linear(rng: Random) -> Made:
    bias, i = rng.random() < 0.7, rng.choice([4, 4, 3, 5])
    mints = rng.random() < 0.5
    cell = mint.nn.Linear(i, 4, bias) if mints else nn.Dense(i, 4, has_bias=bias)
    return Made(cell, "Linear", {}, [(2, 3, i)])


def _embedding(rng: Random) -> Made:
    make = rng.choice([nn.Embedding, mint.nn.Embedding])
    return Made(make(rng.choice([4, 7]), 4), "Embedding", {}, [None])


def _convolution(rank: int, rng: Random) -> Made:
    turned = rng.random() < 0.4
    stride, padding = rng.choice([1, 2]), rng.choice([0, 1])
    i, o = rng.choice([(4, 4), (3, 4)])
    cell = getattr(nn, f"Conv{rank}d{'Transpose' if turned else ''}")(
        i, o, 3, stride=stride, pad_mode="pad", padding=padding, has_bias=rng.random() < 0.6
    )
    kind = f"Conv{'Transpose' if turned else ''}{rank}d"
    return Made(cell, kind, {"stride": stride, "padding": padding}, [(2, i, *(5, 4, 6)[:rank])])


def _batch_norm(rank: int, rng: Random) -> Made:
    cell = getattr(nn, f"BatchNorm{rank}d")(4, eps=rng.choice([1e-5, 1e-3]))
    hyper = {"eps": float(cell.bn2d.eps if rank == 3 else cell.eps), "momentum": 0.1}
    return Made(cell, f"BatchNorm{rank}d", hyper, [(3, 4, *(5, 4, 6)[:rank])])


def _layer_norm(rng: Random) -> Made:
    eps = rng.choice([1e-7, 1e-5])
    return Made(nn.LayerNorm((4,), epsilon=eps), "LayerNorm", {"eps": eps}, [_SEQUENCE])


def _group_norm(_: Random) -> Made:
    return Made(nn.GroupNorm(2, 4), "GroupNorm", {"num_groups": 2, "eps": 1e-5}, [(2, 4, 3, 3)])


def _transformer(rng: Random) -> Made:
    feed = size_of(rng)
    call = f"nn.TransformerEncoderLayer(4, 2, {feed}, 0.0, batch_first=True)"
    cell = nn.TransformerEncoderLayer(4, 2, feed, 0.0, batch_first=True)
    return Made(cell, "", {}, [_SEQUENCE], {"torch": call, "mindspore": call})


def _own(rng: Random) -> Made:
    names = rng.choice([("w",), ("gamma",), ("momentum",), ("weight_decay", "learning_rate")])
    return Made(Own(*names), "", {}, [(2, 4)])


RECIPES: dict[str, tuple[Recipe, list[str]]] = {
    "LSTM": (_recurrent("LSTM"), ["lstm", "encoder", "linear", "moments"]),
    "GRU": (_recurrent("GRU"), ["gru", "decoder", "moment1"]),
    "RNN": (_recurrent("RNN"), ["rnn", "accum"]),
    "LSTMCell": (_cell("LSTMCell"), ["cell", "stat"]),
    "GRUCell": (_cell("GRUCell"), ["gru_cell"]),
    "RNNCell": (_cell("RNNCell"), ["rnn_cell"]),
    "Linear": (_linear, ["fc", "head", "linear", "moments", "accum", "embedding", "network.fc"]),
    "Embedding": (_embedding, ["embed", "fc", "lookup"]),
    **{f"Conv{n}": (partial(_convolution, n), ["conv", "up1", "layer"]) for n in (1, 2, 3)},
    **{
        f"BatchNorm{n}": (partial(_batch_norm, n), ["bn", "bn2d", "norm", "block.bn2d"])
        for n in (1, 2, 3)
    },
    "LayerNorm": (_layer_norm, ["ln", "bn1", "norm1"]),
    "GroupNorm": (_group_norm, ["gn"]),
    "PReLU": (
        lambda _: Made(nn.PReLU(4), "PReLU", {"shared_axes": [1]}, [(2, 4, 3)]),
        ["act", "attn"],
    ),
    "MultiheadAttention": (
        lambda _: Made(
            nn.MultiheadAttention(4, 2, batch_first=True),
            "MultiheadAttention",
            {"num_heads": 2, "batch_first": True},
            [_SEQUENCE] * 3,
        ),
        ["attn", "self_attn"],
    ),
    "Transformer": (_transformer, ["layers", "block"]),
    "Block": (lambda _: Made(Block(), "", {}, [(2, 4, 5, 4)], {}), ["stem"]),
    "own": (_own, ["attn", "scale", "momentum"]),
}
WEIGHTS = [4, 3, 2, 2, 2, 1, 6, 4, 2, 2, 1, 1, 1, 1, 3, 1, 2, 2, 1, 2, 4]
PREFIXES = ["", "", "", "", "network.", "_backbone.", "model.", "net."]


def fill(cell: Any, rng: Random) -> None:
    """Give every parameter distinct values, small so that no unit saturates."""
    generator = np.random.default_rng(rng.randrange(1 << 30))
    for parameter in cell.get_parameters():
        noise = (generator.normal(size=tuple(parameter.shape)) * 0.25).astype("f4")
        positive = parameter.name.rpartition(".")[2] in ("moving_variance", "gamma", "running_var")
        values = np.abs(noise) + np.float32(0.6) if positive else noise + np.float32(0.07)
        if str(parameter.dtype) == "Float32":
            parameter.set_data(ms.Tensor(values.astype("f4").reshape(tuple(parameter.shape))))
    cell.set_train(False)
