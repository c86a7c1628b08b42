"""The table of constructors: kind → the call on each target, and what no shape can tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_RANKED = re.compile(r"(BatchNorm|InstanceNorm|ConvTranspose|Conv)([123])d")

CALLS: Mapping[str, tuple[str, str, str]] = {
    # kind: (torch, MindSpore, Keras). Before the bar what is given by place, after it what is given
    # by name; "has_bias=bias" where the target calls it otherwise. One letter is a size in the
    # axis letters of ckptconv.graph.kinds. An empty call: the target has no such layer.
    "LSTM": (
        "nn.LSTM(input_size, hidden_size"
        "| num_layers, bias, batch_first, dropout, bidirectional, proj_size)",
        "nn.LSTM(input_size, hidden_size"
        "| num_layers, has_bias=bias, batch_first, dropout, bidirectional)",
        "layers.LSTM(hidden_size| use_bias=bias, dropout, return_sequences)",
    ),
    "GRU": (
        "nn.GRU(input_size, hidden_size| num_layers, bias, batch_first, dropout, bidirectional)",
        "nn.GRU(input_size, hidden_size"
        "| num_layers, has_bias=bias, batch_first, dropout, bidirectional)",
        "layers.GRU(hidden_size| use_bias=bias, dropout, return_sequences, reset_after)",
    ),
    "RNN": (
        "nn.RNN(input_size, hidden_size"
        "| num_layers, nonlinearity, bias, batch_first, dropout, bidirectional)",
        "nn.RNN(input_size, hidden_size"
        "| num_layers, nonlinearity, has_bias=bias, batch_first, dropout, bidirectional)",
        "layers.SimpleRNN(hidden_size"
        "| activation=nonlinearity, use_bias=bias, dropout, return_sequences)",
    ),
    "LSTMCell": (
        "nn.LSTMCell(input_size, hidden_size| bias)",
        "nn.LSTMCell(input_size, hidden_size| has_bias=bias)",
        "layers.LSTMCell(hidden_size| use_bias=bias)",
    ),
    "GRUCell": (
        "nn.GRUCell(input_size, hidden_size| bias)",
        "nn.GRUCell(input_size, hidden_size| has_bias=bias)",
        "layers.GRUCell(hidden_size| use_bias=bias, reset_after)",
    ),
    "RNNCell": (
        "nn.RNNCell(input_size, hidden_size| bias, nonlinearity)",
        "nn.RNNCell(input_size, hidden_size| has_bias=bias, nonlinearity)",
        "layers.SimpleRNNCell(hidden_size| activation=nonlinearity, use_bias=bias)",
    ),
    "Linear": (
        "nn.Linear(i, o| bias)",
        "nn.Dense(i, o| has_bias=bias)",
        "layers.Dense(o| use_bias=bias)",
    ),
    "Bilinear": ("nn.Bilinear(i, j, o| bias)", "nn.BiDense(i, j, o| has_bias=bias)", ""),
    "Embedding": (
        "nn.Embedding(v, n| padding_idx)",
        "nn.Embedding(v, n| padding_idx)",
        "layers.Embedding(v, n)",
    ),
    "EmbeddingBag": ("nn.EmbeddingBag(v, n| mode, padding_idx)", "nn.Embedding(v, n)", ""),
    "LayerNorm": (
        "nn.LayerNorm(shape| eps, bias)",
        "nn.LayerNorm(shape| begin_norm_axis=first, begin_params_axis=first, epsilon=eps)",
        "layers.LayerNormalization(| axis=axes, epsilon=eps, center=bias)",
    ),
    "GroupNorm": (
        "nn.GroupNorm(num_groups, n| eps)",
        "nn.GroupNorm(num_groups, n| eps)",
        "layers.GroupNormalization(num_groups| epsilon=eps)",
    ),
    "RMSNorm": ("nn.RMSNorm(shape| eps)", "", "layers.RMSNormalization(| epsilon=eps)"),
    "BatchNorm": (
        "nn.BatchNormNd(n| eps, momentum, affine, track_running_stats)",
        "nn.BatchNormNd(n| eps, momentum=kept, affine, use_batch_statistics)",
        "layers.BatchNormalization(| epsilon=eps, momentum=kept, center=bias, scale=weight)",
    ),
    "InstanceNorm": (
        "nn.InstanceNormNd(n| eps, momentum, affine)",
        "nn.InstanceNormNd(n| eps, affine)",
        "",
    ),
    "Conv": (
        "nn.ConvNd(i, o, kernel| stride, padding, dilation, groups, bias, padding_mode)",
        "nn.ConvNd(i, o, kernel"
        "| stride, pad_mode, padding=pads, dilation, group=groups, has_bias=bias)",
        "layers.ConvND(o, kernel"
        "| strides=stride, padding=pad_word, dilation_rate=dilation, groups, use_bias=bias)",
    ),
    "ConvTranspose": (
        "nn.ConvTransposeNd(i, o, kernel"
        "| stride, padding, output_padding, groups, bias, dilation, padding_mode)",
        "nn.ConvNdTranspose(i, o, kernel"
        "| stride, pad_mode, padding=pads, dilation, group=groups, has_bias=bias)",
        "layers.ConvNDTranspose(o, kernel"
        "| strides=stride, padding=pad_word, output_padding, dilation_rate=dilation,"
        " use_bias=bias)",
    ),
    "PReLU": ("nn.PReLU(n)", "nn.PReLU(n)", "layers.PReLU(| shared_axes)"),
    "MultiheadAttention": (
        "nn.MultiheadAttention(e, num_heads"
        "| dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first)",
        "nn.MultiheadAttention(e, num_heads"
        "| dropout, has_bias=bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first)",
        "layers.MultiHeadAttention(num_heads, key_dim| dropout, use_bias=bias)",
    ),
}

UNSAID: Mapping[str, Any] = {
    # target arguments that need not be written when they have this value: every target's default
    **{"num_layers": 1, "bias": True, "dropout": 0.0, "bidirectional": False, "proj_size": 0},
    **{"stride": 1, "strides": 1, "dilation": 1, "dilation_rate": 1, "groups": 1, "group": 1},
    **{"padding": 0, "padding_mode": "zeros", "output_padding": 0, "padding_idx": None},
    **{"begin_norm_axis": -1, "begin_params_axis": -1, "axis": -1, "center": True, "scale": True},
    **{"add_bias_kv": False, "add_zero_attn": False, "kdim": None, "vdim": None},
    **{"use_bias": True, "use_batch_statistics": None},
}

UNKNOWN = "?"
"""Stands in a call for an argument that nothing tells and that has no default."""

_SEQUENCE = {"batch_first": False, "dropout": 0.0}
_KERNEL = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
UNRECORDED: Mapping[str, Mapping[str, Any]] = {
    # kind → hyper-parameters that no shape tells, with torch's defaults
    "LSTM": _SEQUENCE,
    "GRU": _SEQUENCE,
    "RNN": {"nonlinearity": "tanh", **_SEQUENCE},
    "RNNCell": {"nonlinearity": "tanh"},
    "Embedding": {"padding_idx": None},
    "EmbeddingBag": {"mode": "mean", "padding_idx": None},
    "LayerNorm": {"eps": 1e-5},
    "GroupNorm": {"num_groups": UNKNOWN, "eps": 1e-5},
    "RMSNorm": {"eps": None},
    "BatchNorm": {"eps": 1e-5, "momentum": 0.1},
    "InstanceNorm": {"eps": 1e-5, "momentum": 0.1},
    "Conv": _KERNEL,
    "ConvTranspose": {**_KERNEL, "output_padding": 0},
    "MultiheadAttention": {"num_heads": UNKNOWN, "add_zero_attn": False, **_SEQUENCE},
}
OTHERWISE: Mapping[str, Mapping[tuple[str, str], Any]] = {
    # source → (kind, hyper-parameter) → its default where it is not torch's
    "mindspore": {("LayerNorm", "eps"): 1e-7},
    "keras": {
        ("LayerNorm", "eps"): 1e-3,
        ("GroupNorm", "eps"): 1e-3,
        ("RMSNorm", "eps"): 1e-6,
        ("BatchNorm", "eps"): 1e-3,
        ("BatchNorm", "momentum"): 0.01,
    },
}
IMPLIED: Mapping[str, Mapping[str, Any]] = {
    # source → hyper-parameters that its layers have without saying so
    "keras": {
        **{"batch_first": True, "padding_idx": None, "padding_mode": "zeros"},
        **{"add_zero_attn": False},
    },
}


def base_kind(kind: str) -> tuple[str, str]:
    """Return a kind as the tables have it, and its rank: ("Conv", "2") for Conv2d."""
    match = _RANKED.fullmatch(kind)
    return (match[1], match[2]) if match else (kind, "")
