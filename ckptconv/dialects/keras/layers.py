"""Keras's column of the table of layers, with the names that Keras 1 and 2 had for some.

A recurrent layer's two biases are one here, their sum, but for GRU, which keeps them as rows.
"""

from __future__ import annotations

from ckptconv.dialects.torch.layers import CUMULATIVE, PADDING
from ckptconv.graph.forms import Arg, Call, Form, Forms, Has, Note, Slot, within
from ckptconv.graph.gates import order

_BIAS = Has("bias", default=True)
_WORDS = {"strides": Arg("stride", default=1), "padding": Arg("pad_word")}
_DILATION = Arg("dilation", default=1)
_DROPOUT = Arg(default=0.0)
_ZEROS = {"padding_mode": "zeros"}
_SETTINGS = {
    **{name: name for name in ("padding", "groups", "output_padding")},
    **{"strides": "stride", "dilation_rate": "dilation"},
}
_KERNELS = {1: "k", 2: "hw", 3: "dhw"}
_RAGGED = Note(
    "takes (batch, time, features); sequences of different lengths "
    "(packed in the source) need a mask; return_state=True gives the last states"
)
_CHANNELS = Note("channels are the last axis")


def _recurrent_weights(bias: str = "g") -> dict[str, Slot | None]:
    return {
        "weight_ih": Slot("kernel", "ig"),
        "weight_hh": Slot("recurrent_kernel", "rg"),
        "bias_ih": Slot("bias", bias),
        "bias_hh": Slot("bias", bias),
    }


def _layer(call: Call, *also: str, gates: str = "", bias: str = "g") -> Form:
    return Form(
        call,
        _recurrent_weights(bias),
        fixed={"batch_first": True},
        also=also,
        gates=gates,
        pair="Bidirectional",
        notes=(_RAGGED,),
    )


def _cell(call: Call, gates: str = "", bias: str = "g") -> Form:
    return Form(call, _recurrent_weights(bias), gates=gates)


_LSTM, _GRU = order("LSTM", "keras"), order("GRU", "keras")
_BIAS_IH = Has("bias_ih", default=True)
_STEPS = {"use_bias": _BIAS_IH, "dropout": _DROPOUT, "return_sequences": Arg()}
_TANH = {"activation": Arg("nonlinearity")}
_RECURRENT = {
    "LSTM": _layer(Call("LSTM", "hidden_size", **_STEPS), "CuDNNLSTM", gates=_LSTM),
    "GRU": _layer(
        Call("GRU", "hidden_size", **_STEPS, reset_after=Arg()), "CuDNNGRU", gates=_GRU, bias="bg"
    ),
    "RNN": _layer(Call("SimpleRNN", "hidden_size", **_TANH, **_STEPS)),
    "LSTMCell": _cell(Call("LSTMCell", "hidden_size", use_bias=_BIAS_IH), _LSTM),
    "GRUCell": _cell(
        Call("GRUCell", "hidden_size", use_bias=_BIAS_IH, reset_after=Arg()), _GRU, "bg"
    ),
    "RNNCell": _cell(Call("SimpleRNNCell", "hidden_size", **_TANH, use_bias=_BIAS_IH)),
}


def _conv(rank: int) -> Form:
    call = Call(
        f"Conv{rank}D",
        *("o", "kernel"),
        **_WORDS,
        dilation_rate=_DILATION,
        groups=Arg(default=1),
        use_bias=_BIAS,
    )
    return Form(
        call,
        {"weight": Slot("kernel", f"{_KERNELS[rank]}io")},
        fixed=_ZEROS,
        recorded=_SETTINGS,
        also=(f"Convolution{rank}D",),
        before=Call(f"ZeroPadding{rank}D", "margin"),
        notes=(_CHANNELS, PADDING),
    )


def _depthwise(rank: int) -> Form:
    call = Call(
        f"DepthwiseConv{rank}D",
        "kernel",
        **_WORDS,
        depth_multiplier=Arg("m", default=1),
        dilation_rate=_DILATION,
        use_bias=_BIAS,
    )
    return _conv(rank)._replace(
        call=call,
        slots={"weight": Slot("kernel", f"{_KERNELS[rank]}cm", also=("depthwise_kernel",))},
        also=(),
    )


def _conv_transpose(rank: int) -> Form:
    call = Call(
        f"Conv{rank}DTranspose",
        *("o", "kernel"),
        **_WORDS,
        output_padding=Arg("added", default=None),
        dilation_rate=_DILATION,
        use_bias=_BIAS,
    )
    return Form(
        call,
        {"weight": Slot("kernel", f"{_KERNELS[rank]}oi")},
        fixed=_ZEROS,
        recorded=_SETTINGS,
        also=("Deconvolution2D",) if rank == 2 else (),
        after=Call(f"Cropping{rank}D", "margin"),
        first={"groups": 1},
        notes=(_CHANNELS, PADDING),
    )


_BATCH_NORM = Form(
    Call(
        "BatchNormalization",
        epsilon=Arg("eps"),
        momentum=Arg("kept"),
        center=_BIAS,
        scale=Has("weight", default=True),
    ),
    {
        "weight": Slot("gamma"),
        "bias": Slot("beta"),
        "running_mean": Slot("moving_mean", always=True, needed=True),
        "running_var": Slot("moving_variance", always=True, needed=True),
        "num_batches_tracked": None,
    },
    defaults={"eps": 1e-3, "momentum": 0.01},
    notes=(_CHANNELS, CUMULATIVE),
)
_LAYER_NORM = Form(
    Call("LayerNormalization", axis=Arg("axes", default=-1), epsilon=Arg("eps"), center=_BIAS),
    {"weight": Slot("gamma"), "bias": Slot("beta")},
    defaults={"eps": 1e-3},
)
_ATTENTION = Form(  # the axes of its weights: dialects/keras/attention
    Call(
        "MultiHeadAttention",
        *("num_heads", "key_dim"),
        dropout=_DROPOUT,
        use_bias=Has("in_proj_bias", default=True),
    ),
    fixed={"batch_first": True, "add_zero_attn": False},
    notes=(
        Note(
            "takes (batch, time, features) as (query, value, key), where torch and MindSpore take "
            "(query, key, value)"
        ),
    ),
)
_EMBEDDED = {"weight": Slot("embeddings")}
_RANKS = (1, 2, 3)
FORMS: Forms = within(
    "layers",
    {
        "Linear": Form(
            Call("Dense", "o", use_bias=_BIAS),
            {"weight": Slot("kernel", "io")},
            also=("TimeDistributedDense",),
        ),
        "Bilinear": None,
        "Embedding": Form(Call("Embedding", "v", "n"), _EMBEDDED, fixed={"padding_idx": None}),
        "EmbeddingBag": Form(
            Call("Embedding", "v", "n"),
            _EMBEDDED,
            fixed={"padding_idx": None},
            nearest=True,
            notes=(
                Note("only looks up: reduce the bag yourself", settings=("mode", "padding_idx")),
            ),
        ),
        "LayerNorm": _LAYER_NORM,
        "GroupNorm": Form(
            Call("GroupNormalization", "num_groups", epsilon=Arg("eps")),
            {"weight": Slot("gamma"), "bias": Slot("beta")},
            defaults={"eps": 1e-3},
            recorded={"groups": "num_groups"},
            notes=(_CHANNELS,),
        ),
        "RMSNorm": Form(
            Call("RMSNormalization", epsilon=Arg()),
            {"weight": Slot("scale")},
            defaults={"eps": 1e-6},
        ),
        **{f"BatchNorm{n}d": _BATCH_NORM for n in _RANKS},
        **{f"InstanceNorm{n}d": None for n in _RANKS},
        **{f"Conv{n}d": _conv(n) for n in _RANKS},
        **{f"DepthwiseConv{n}d": _depthwise(n) for n in (1, 2)},
        **{f"ConvTranspose{n}d": _conv_transpose(n) for n in _RANKS},
        "PReLU": Form(  # the axes of its weight: dialects/keras/plain_weights
            Call("PReLU", shared_axes=Arg()),
            {"weight": Slot("alpha")},
            recorded={"shared_axes": "shared_axes"},
            notes=(_CHANNELS,),
        ),
        "MultiheadAttention": _ATTENTION,
        **_RECURRENT,
    },
)
