"""torch's column of the table of layers; names and axes are the canonical ones."""

from __future__ import annotations

from ckptconv.graph.forms import Arg, Call, Form, Forms, Has, Note, Slot, within

CHANNELS = Note(
    "channels are axis 1 here: where the input has more than two axes, move its last axis there, "
    "and move it back in the output",
    "data_format",
    ("channels_last",),
)
STRIDED_SAME = Note(
    "padding 'same' with strides depends on the input: along an axis of n, pad "
    "max((ceil(n / stride) - 1) * stride + dilation * (kernel - 1) + 1 - n, 0) zeros, the smaller "
    "half in front",
    "same_pads",
    ("unknown",),
)
PADDING = Note(
    "padding_mode is not zeros: pad the input yourself",
    "padding_mode",
    ("reflect", "replicate", "circular"),
)
CUMULATIVE = Note(
    "momentum=None, a cumulative average in training, has no equal", "momentum", (None,)
)
"""The last two are of what torch's layers have and no other framework's."""

_BIAS = Has("bias", default=True)
_SEQUENCE = {
    **{"batch_first": Arg(), "dropout": Arg(default=0.0), "bidirectional": Arg(default=False)}
}
_KERNEL = {
    **{"groups": Arg(default=1), "bias": _BIAS},
    **{"dilation": Arg(default=1), "padding_mode": Arg(default="zeros")},
}
_PADDED = {"stride": Arg(default=1), "padding": Arg(default=0)}


def _recurrent(name: str, **more: Arg) -> Form:
    bias = {"num_layers": Arg(default=1), **more, "bias": Has("bias_ih", default=True)}
    return Form(Call(name, "input_size", "hidden_size", **bias, **_SEQUENCE))


def _cell(name: str, **more: Arg) -> Form:
    bias = Has("bias_ih", default=True)
    return Form(Call(name, "input_size", "hidden_size", bias=bias, **more))


def _batch_norm(rank: int) -> Form:
    call = Call(
        f"BatchNorm{rank}d",
        "n",
        eps=Arg(),
        momentum=Arg(),
        affine=Has("weight"),
        track_running_stats=Has("running_mean"),
    )
    also = ("SyncBatchNorm",) if rank == 2 else ()
    return Form(
        call,
        {"num_batches_tracked": Slot(always=True)},
        also=(f"LazyBatchNorm{rank}d", *also),
        notes=(CHANNELS,),
    )


def _instance_norm(rank: int) -> Form:
    call = Call(f"InstanceNorm{rank}d", "n", eps=Arg(), momentum=Arg(), affine=Has("weight"))
    return Form(call, {"running_mean": None, "running_var": None})


def _conv(rank: int) -> Form:
    order = ("dilation", "groups", "bias", "padding_mode")
    arguments = {**_PADDED, **{name: _KERNEL[name] for name in order}}
    return Form(
        Call(f"Conv{rank}d", "i", "o", "kernel", **arguments),
        also=(f"LazyConv{rank}d",),
        before=Call(f"ConstantPad{rank}d", "sides", "zero"),
        notes=(CHANNELS, STRIDED_SAME),
    )


def _conv_transpose(rank: int) -> Form:
    arguments = {**_PADDED, "output_padding": Arg(default=0), **_KERNEL}
    return Form(
        Call(f"ConvTranspose{rank}d", "i", "o", "kernel", **arguments),
        after=Call(f"ConstantPad{rank}d", "trim", "zero"),
        notes=(CHANNELS,),
    )


_ATTENTION = Call(
    "MultiheadAttention",
    "e",
    "num_heads",
    dropout=Arg(default=0.0),
    bias=Has("in_proj_bias", default=True),
    add_bias_kv=Has("bias_k", default=False),
    add_zero_attn=Arg(default=False),
    kdim=Arg(default=None),
    vdim=Arg(default=None),
    batch_first=Arg(),
)
_PADDING_IDX = Arg(default=None)
_RANKS = (1, 2, 3)
FORMS: Forms = within(
    "nn",
    {
        "Linear": Form(
            Call("Linear", "i", "o", bias=_BIAS),
            also=("LazyLinear", "NonDynamicallyQuantizableLinear"),
        ),
        "Bilinear": Form(Call("Bilinear", "i", "j", "o", bias=_BIAS)),
        "Embedding": Form(Call("Embedding", "v", "n", padding_idx=_PADDING_IDX)),
        "EmbeddingBag": Form(Call("EmbeddingBag", "v", "n", mode=Arg(), padding_idx=_PADDING_IDX)),
        "LayerNorm": Form(Call("LayerNorm", "shape", eps=Arg(), bias=_BIAS)),
        "GroupNorm": Form(Call("GroupNorm", "num_groups", "n", eps=Arg()), notes=(CHANNELS,)),
        "RMSNorm": Form(Call("RMSNorm", "shape", eps=Arg())),
        **{f"BatchNorm{n}d": _batch_norm(n) for n in _RANKS},
        **{f"InstanceNorm{n}d": _instance_norm(n) for n in _RANKS},
        **{f"Conv{n}d": _conv(n) for n in _RANKS},
        **{f"DepthwiseConv{n}d": _conv(n) for n in (1, 2)},  # with a group for each channel
        **{f"ConvTranspose{n}d": _conv_transpose(n) for n in _RANKS},
        "PReLU": Form(Call("PReLU", "n"), notes=(CHANNELS,)),
        "MultiheadAttention": Form(_ATTENTION),
        "LSTM": Form(
            Call(
                "LSTM",
                *("input_size", "hidden_size"),
                num_layers=Arg(default=1),
                bias=Has("bias_ih", default=True),
                **_SEQUENCE,
                proj_size=Arg(default=0),
            )
        ),
        "GRU": _recurrent("GRU"),
        "RNN": _recurrent("RNN", nonlinearity=Arg()),
        "LSTMCell": _cell("LSTMCell"),
        "GRUCell": _cell("GRUCell"),
        "RNNCell": _cell("RNNCell", nonlinearity=Arg()),
    },
)
