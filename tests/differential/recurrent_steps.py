"""Steps of a random torch.export program that bring a layer of their own."""

# ruff: noqa: ARG005 (functions of one signature)
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple


class Owner(NamedTuple):
    """Returns the layer of a step; computes a value from (layer, x, y, step)."""

    make: Callable[[Any, int], Any]
    use: Callable[[Any, Any, Any, Any], Any]


def _loop(cell: Any, x: Any, state: Any) -> Any:
    """Return what a cell gives step by step, with zeros before the first."""
    import torch

    given = []
    for t in range(x.shape[1]):
        state = cell(x[:, t], state)
        given.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(given, 1)


def _tokens(x: Any) -> Any:
    return (x[..., 0].abs() * 3).long().clamp(max=6)


def _learned(nn: Any, n: int) -> Any:
    import torch

    layer = nn.GRU(n, n, batch_first=True)
    layer.start = nn.Parameter(torch.zeros(1, 1, n))
    return layer


def _basis(nn: Any, n: int) -> Any:
    import torch

    layer = nn.Module()
    layer.basis = nn.Parameter(torch.zeros(n, n, 3))
    return layer


def _by_time(x: Any) -> Any:
    return x.transpose(1, 2)


def _seen(x: Any, y: Any) -> Any:
    import torch

    return torch.ones(x.shape[1], y.shape[1]).tril().bool()


def _tied(nn: Any, n: int) -> Any:
    layer = nn.ModuleDict({"table": nn.Embedding(7, n), "head": nn.Linear(n, 7, bias=False)})
    layer["head"].weight = layer["table"].weight
    return layer


def _normed(nn: Any, n: int) -> Any:
    from torch.nn.utils.parametrizations import weight_norm

    return weight_norm(nn.LSTM(n, n, batch_first=True), "weight_hh_l0")


@lru_cache
def owners() -> dict[str, Owner]:
    """Return name → the step."""
    import torch
    from torch.nn import functional as F  # noqa: N812

    def table(name: str, make: Any, use: Any) -> tuple[str, Owner]:
        return name, Owner(make, use)

    return dict([
        table("lstm_two", lambda nn, n: nn.LSTM(n, n, 2, batch_first=True, dropout=0.3),
              lambda m, x, y, s: m(x)[0] if s.flag else m(x)[1][1][0]),
        table("lstm_both", lambda nn, n: nn.LSTM(n, 3, bidirectional=True, batch_first=True),
              lambda m, x, y, s: m(x)[0] if s.flag else torch.cat([*m(x)[1][0][-2:]], -1)),
        table("lstm_zeros", lambda nn, n: nn.LSTM(n, 4, 2, batch_first=True),
              lambda m, x, y, s: m(x, (torch.zeros(2, x.shape[0], 4),
                                       x.new_zeros(2, x.shape[0], 4)))[0]),
        table("lstm_ones", lambda nn, n: nn.LSTM(n, 4, batch_first=True),
              lambda m, x, y, s: m(x, (torch.ones(1, x.shape[0], 4) * s.number,
                                       torch.zeros(1, len(x), 4)))[s.flag][0]),
        table("lstm_proj", lambda nn, n: nn.LSTM(n, 8, batch_first=True, proj_size=n),
              lambda m, x, y, s: m(x)[0] if s.flag else m(x)[1][s.whole % 2][0]),
        table("lstm_alone", lambda nn, n: nn.LSTM(n, n), lambda m, x, y, s: m(x[0])[0]),
        table("lstm_normed", _normed, lambda m, x, y, s: m(x)[0]),
        table("lstm_seq", lambda nn, n: nn.ModuleList([nn.LSTM(n, 4, batch_first=True),
                                                      nn.LSTM(n, 4, batch_first=True)]),
              lambda m, x, y, s: m[1](y, m[0](x)[1])[0]),
        table("gru", lambda nn, n: nn.GRU(n, n, batch_first=True),
              lambda m, x, y, s: m(x)[0] if s.flag else m(x)[1][-1]),
        table("gru_both", lambda nn, n: nn.GRU(n, 3, 2, bidirectional=True, batch_first=True),
              lambda m, x, y, s: m(x)[0] if s.flag else m(x)[1].view(2, 2, -1, 3)[-1, 0]),
        table("gru_time", lambda nn, n: nn.GRU(n, n, bias=False),
              lambda m, x, y, s: m(x.transpose(0, 1))[0].transpose(0, 1)),
        table("gru_learned", _learned, lambda m, x, y, s: m(
            x, m.start.expand(-1, x.shape[0], -1).contiguous())[0]),
        table("gru_state", lambda nn, n: nn.GRU(n, n, batch_first=True),
              lambda m, x, y, s: m(x, y.mean(1).unsqueeze(0))[0]),
        table("gru_twice", lambda nn, n: nn.GRU(n, n, batch_first=True),
              lambda m, x, y, s: m(x)[0] - m(y)[0] if s.flag else m(m(x)[0])[0]),
        table("gru_turned", lambda nn, n: nn.GRU(n, n, batch_first=True),
              lambda m, x, y, s: m(x.flip(1))[0].flip(1)),
        table("rnn", lambda nn, n: nn.RNN(n, n, batch_first=True), lambda m, x, y, s: m(x)[0]),
        table("rnn_relu", lambda nn, n: nn.RNN(n, n, 2, nonlinearity="relu", batch_first=True),
              lambda m, x, y, s: m(x)[s.flag] if s.flag else m(x)[0]),
        table("cells", lambda nn, n: nn.LSTMCell(n, n), lambda m, x, y, s: _loop(m, x, None)),
        table("gru_cells", lambda nn, n: nn.GRUCell(n, n),
              lambda m, x, y, s: _loop(m, x, y[:, 0] if s.flag else None)),
        table("rnn_cells", lambda nn, n: nn.RNNCell(n, n, nonlinearity="relu"),
              lambda m, x, y, s: _loop(m, x, torch.zeros(x.shape[0], x.shape[2]))),
        table("heads_self", lambda nn, n: nn.MultiheadAttention(n, 2, batch_first=True),
              lambda m, x, y, s: m(x, y, y, need_weights=s.flag)[0]),
        table("heads_causal", lambda nn, n: nn.MultiheadAttention(n, 2, batch_first=True),
              lambda m, x, y, s: m(x, y, y, attn_mask=~_seen(x, y))[0]),
        table("heads_padded", lambda nn, n: nn.MultiheadAttention(n, 3, batch_first=True),
              lambda m, x, y, s: m(x, y, y, key_padding_mask=y[..., 0] > 1)[0]),
        table("heads_time", lambda nn, n: nn.MultiheadAttention(n, 2),
              lambda m, x, y, s: m(x, y, y)[s.flag]),
        table("encoder", lambda nn, n: nn.TransformerEncoderLayer(
            n, 2, 8, batch_first=True, norm_first=True, activation="gelu"),
              lambda m, x, y, s: m(x, src_key_padding_mask=x[..., 0] > 1 if s.flag else None)),
        table("encoder_causal", lambda nn, n: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(n, 2, 8, batch_first=True), 2),
              lambda m, x, y, s: m(x, mask=~_seen(x, x))),
        table("decoder", lambda nn, n: nn.TransformerDecoderLayer(n, 2, 8, batch_first=True),
              lambda m, x, y, s: m(x, y, tgt_mask=~_seen(x, x))),
        table("table", lambda nn, n: nn.Embedding(7, n, padding_idx=0),
              lambda m, x, y, s: m(_tokens(x)) * n_root(x)),
        table("bag", lambda nn, n: nn.EmbeddingBag(7, n, mode="sum"),
              lambda m, x, y, s: m(_tokens(x))),
        table("tied", _tied, lambda m, x, y, s: m["head"](m["table"](_tokens(x)) + x)),
        table("conv", lambda nn, n: nn.Conv1d(n, n, 3, padding=1),
              lambda m, x, y, s: _by_time(m(_by_time(x)).relu())),
        table("conv_bare", _basis, lambda m, x, y, s: _by_time(F.conv1d(
            _by_time(x), m.basis * 2 if s.flag else m.basis, stride=1 + s.whole % 2, padding=1))),
        table("conv_same", lambda nn, n: nn.Conv1d(n, n, 2, padding="same", dilation=2),
              lambda m, x, y, s: _by_time(m(_by_time(x)))),
        table("conv_circular", lambda nn, n: nn.Conv1d(n, n, 3, padding=1, padding_mode="circular"),
              lambda m, x, y, s: _by_time(m(_by_time(x)))),
        table("conv_causal", lambda nn, n: nn.Conv1d(n, n, 3, groups=n),
              lambda m, x, y, s: _by_time(m(F.pad(_by_time(x), (2, 0))))),
        table("conv_stride", lambda nn, n: nn.Conv1d(n, n, 3, stride=2, padding=1, groups=2),
              lambda m, x, y, s: _by_time(m(_by_time(x)))),
        table("conv_up", lambda nn, n: nn.ConvTranspose1d(n, n, 3, stride=2, output_padding=1),
              lambda m, x, y, s: _by_time(m(_by_time(x)))),
        table("image", lambda nn, n: nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d((1, 2))),
              lambda m, x, y, s: m(x.unsqueeze(1)).permute(0, 2, 1, 3).flatten(2)),
        table("group", lambda nn, n: nn.GroupNorm(2, n),
              lambda m, x, y, s: _by_time(m(_by_time(x)))),
        table("instance_affine", lambda nn, n: nn.InstanceNorm1d(
            n, affine=True, track_running_stats=True),
              lambda m, x, y, s: _by_time(m(_by_time(x)))),
        table("instance_weights", lambda nn, n: nn.InstanceNorm1d(n, affine=True),
              lambda m, x, y, s: _by_time(m(_by_time(x)))),
        table("rms", lambda nn, n: nn.RMSNorm(n), lambda m, x, y, s: m(x)),
        table("norm_axes", lambda nn, n: nn.LayerNorm((2, n // 2)),
              lambda m, x, y, s: m(x.unflatten(-1, (2, -1))).flatten(-2)),
        table("prelu", lambda nn, n: nn.PReLU(), lambda m, x, y, s: m(x)),
        table("bilinear", lambda nn, n: nn.Bilinear(n, n, 3), lambda m, x, y, s: m(x, y)),
        table("weighted", lambda nn, n: nn.Linear(n, 1),
              lambda m, x, y, s: (x * m(x).softmax(1)).sum(1, keepdim=True) + y),
    ])  # fmt: skip


def n_root(x: Any) -> float:
    """Return what an embedding of this width is often multiplied by."""
    return float(x.shape[-1]) ** 0.5
