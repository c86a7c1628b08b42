"""aten operators that use the weights of a layer: the layer is called, with its settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ckptconv.dialects.torch.network.program import Operator
from ckptconv.graph.network import Value

_RECURRENT = {"lstm": ("LSTM", "tanh"), "gru": ("GRU", "tanh"), "rnn_tanh": ("RNN", "tanh"),
              "rnn_relu": ("RNN", "relu")}  # fmt: skip


def _linear(o: Operator) -> None:
    weight = o.program.weights.get(o.tensor_name("weight"), "")
    if weight.rpartition(".")[0] in o.program.kinds and weight not in o.program.kinds:
        o.give("module", o.tensor("input"), layer=o.layer())
        return
    bias = [o.tensor("bias")] if o.has_tensor("bias") else []
    o.give("linear_bias" if bias else "linear_plain", o.tensor("input"), o.tensor("weight"), *bias)


def _embedding(o: Operator) -> None:
    o.give("module", o.tensor("indices"), layer=o.layer())


def _called(o: Operator) -> None:
    """A normalisation, or PReLU: its settings are the layer's own."""
    if o.get("training", False):
        raise o.refuse("statistics of the batch: export the model after eval()")
    x = o.tensor("input" if "input" in o.given else "self")
    o.give("module", x, layer=o.layer())


def _conv(o: Operator) -> None:
    x = o.tensor("input")
    rank = x.rank - 2

    def sizes(key: str, usual: int) -> list[int]:
        row = list(o.get(key, [usual]))
        return row * rank if len(row) == 1 else row

    padding = o.get("padding", [0])
    o.give(
        "module",
        x,
        layer=o.layer(),
        stride=sizes("stride", 1),
        padding=padding if isinstance(padding, str) else sizes("padding", 0),
        dilation=sizes("dilation", 1),
        groups=o.get("groups", 1),
    )


def _conv_transpose(o: Operator) -> None:
    x = o.tensor("input")
    rank = x.rank - 2
    usual = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}
    sizes = {key: list(o.get(key, [n])) for key, n in usual.items()}
    rows = {key: row * rank if len(row) == 1 else row for key, row in sizes.items()}
    o.give("module", x, layer=o.layer(), groups=o.get("groups", 1), **rows)


def _recurrent(o: Operator) -> None:
    kind, activation = _RECURRENT[o.name]
    if o.overload != "input":
        raise o.refuse("packed sequences: pad them, and give the lengths to no layer")
    x = o.tensor("input")
    if x.rank != 3:
        raise o.refuse("an input without batch")
    names = o.tensor_names("hx") if "as_tensors" in o.given["hx"] else [o.tensor_name("hx")]
    states: list[Value] = []
    if any(name not in o.program.zeros for name in names):
        states = [o.program.value(name) for name in names]
    settings: dict[str, Any] = {"kind": kind, "activation": activation}
    settings |= {"recurrent_activation": "sigmoid"} if kind != "RNN" else {}
    settings |= {
        key: o.get(key) for key in ("bidirectional", "batch_first", "num_layers", "dropout")
    }
    o.give("recurrent", x, *states, layer=o.layer("params"), stated=bool(states), masked=False,
           **settings)  # fmt: skip


def _cell(o: Operator) -> None:
    names = o.tensor_names("hx") if "as_tensors" in o.given["hx"] else [o.tensor_name("hx")]
    states = [o.program.value(name) for name in names]
    said = {"nonlinearity": o.name.split("_")[1]} if o.name.startswith("rnn") else {}
    o.give("cell", o.tensor("input"), *states, layer=o.layer("w_ih"), **said)


RULES: Mapping[str, Callable[[Operator], None]] = {
    "linear": _linear,
    "embedding": _embedding,
    **dict.fromkeys(("batch_norm", "layer_norm", "group_norm", "prelu", "rms_norm"), _called),
    **{f"conv{n}d": _conv for n in (1, 2, 3)},
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _conv_transpose),
    **dict.fromkeys(_RECURRENT, _recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
}
