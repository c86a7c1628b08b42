"""MindSpore's columns of the table of layers: ``mindspore.nn`` and ``mindspore.mint.nn``."""

from __future__ import annotations

from ckptconv.dialects.torch import layers as torch
from ckptconv.dialects.torch.layers import CHANNELS, CUMULATIVE, PADDING
from ckptconv.graph.forms import Arg, Call, Form, Forms, Has, Note, Slot, within

_BIAS = Has("bias")
_SEQUENCE = {
    **{"has_bias": Has("bias_ih"), "batch_first": Arg()},
    **{"dropout": Arg(default=0.0), "bidirectional": Arg(default=False)},
}
_KERNEL = {
    **{"stride": Arg(default=1), "pad_mode": Arg(), "padding": Arg("pads", default=0)},
    **{"dilation": Arg(default=1), "group": Arg("groups", default=1), "has_bias": _BIAS},
}
_RAGGED = Note(
    "takes 3-D input alone; sequences of different lengths (packed or "
    "masked in the source) need seq_length, and outputs beyond it are zero"
)
_ON_GPU = Note(
    "MindSpore runs it on GPU alone; on others convert it as a GroupNorm (its kind), which gives "
    "the same with as many groups as channels"
)
_STATE = Note("hx must be given; takes 2-D input alone")


def _recurrent(name: str, *notes: Note, **more: Arg) -> Form:
    sizes = {"num_layers": Arg(default=1), **more}
    return Form(
        Call(name, "input_size", "hidden_size", **sizes, **_SEQUENCE), notes=(_RAGGED, *notes)
    )


def _cell(name: str, note: Note, **more: Arg) -> Form:
    bias = Has("bias_ih")
    return Form(Call(name, "input_size", "hidden_size", has_bias=bias, **more), notes=(note,))


def _affine(prefix: str = "") -> dict[str, Slot | None]:
    return {
        "weight": Slot(f"{prefix}gamma", always=True),
        "bias": Slot(f"{prefix}beta", always=True),
        "running_mean": Slot(f"{prefix}moving_mean", always=True),
        "running_var": Slot(f"{prefix}moving_variance", always=True),
    }


def _batch_norm(rank: int) -> Form:
    call = Call(
        f"BatchNorm{rank}d",
        "n",
        eps=Arg(),
        momentum=Arg("kept"),
        affine=Has("weight"),
        use_batch_statistics=Arg(default=None),
    )
    held = _affine("bn2d." if rank == 3 else "") | {"num_batches_tracked": None}
    return Form(call, held, notes=(CHANNELS, CUMULATIVE))


def _instance_norm(rank: int) -> Form:
    call = Call(f"InstanceNorm{rank}d", "n", eps=Arg(), affine=Has("weight"))
    return Form(call, _affine(), notes=(_ON_GPU,))


_RANKS = (1, 2, 3)
_PLANES = {1: "1k", 2: "hw", 3: "dhw"}


def _kernel(name: str, axes: str, rank: int = 0) -> Form:
    call = Call(name, "i", "o", "kernel", **_KERNEL)
    before = Call(f"ConstantPad{rank}d", "causal_sides", "zero") if rank else None
    return Form(
        call,
        {"weight": Slot(axes=axes)},
        defaults={"padding": "same"},
        before=before,
        notes=(CHANNELS, PADDING),
    )


_ADDED = Note(
    "output_padding: where the call has padding=?, build it with padding=0, and of each axis of "
    "its output leave out the first `padding` and the last `padding - output_padding`; where that "
    "is less than none, so many of the bias alone follow",
    "output_padding",
    tuple(v for n in range(1, 8) for k in _RANKS for v in (n, [n] * k, (n,) * k)),
)


def _transposed(rank: int) -> Form:
    form = _kernel(f"Conv{rank}dTranspose", f"io{_PLANES[rank]}")
    return form._replace(notes=(*form.notes, _ADDED))


_ATTENTION = Call(
    "MultiheadAttention",
    "e",
    "num_heads",
    dropout=Arg(default=0.0),
    has_bias=Has("in_proj_bias"),
    add_bias_kv=Has("bias_k", default=False),
    add_zero_attn=Arg(default=False),
    kdim=Arg(default=None),
    vdim=Arg(default=None),
    batch_first=Arg(),
)
_LAYER_NORM = Form(
    Call(
        "LayerNorm",
        "shape",
        begin_norm_axis=Arg("first", default=-1),
        begin_params_axis=Arg("first", default=-1),
        epsilon=Arg("eps"),
    ),
    {"weight": Slot("gamma"), "bias": Slot("beta", always=True)},
    defaults={"eps": 1e-7},
)
_EMBEDDED = {"weight": Slot("embedding_table")}
FORMS: Forms = within(
    "nn",
    {
        "Linear": Form(Call("Dense", "i", "o", has_bias=_BIAS)),
        "Bilinear": Form(Call("BiDense", "i", "j", "o", has_bias=_BIAS)),
        "Embedding": Form(Call("Embedding", "v", "n", padding_idx=Arg(default=None)), _EMBEDDED),
        "EmbeddingBag": Form(
            Call("Embedding", "v", "n"),
            _EMBEDDED,
            nearest=True,
            notes=(
                Note("only looks up: reduce the bag yourself", settings=("mode", "padding_idx")),
            ),
        ),
        "LayerNorm": _LAYER_NORM,
        "GroupNorm": Form(
            Call("GroupNorm", "num_groups", "n", eps=Arg()),
            {"weight": Slot("gamma"), "bias": Slot("beta")},
            notes=(CHANNELS,),
        ),
        "RMSNorm": None,
        **{f"BatchNorm{n}d": _batch_norm(n) for n in _RANKS},
        **{f"InstanceNorm{n}d": _instance_norm(n) for n in _RANKS},
        **{f"Conv{n}d": _kernel(f"Conv{n}d", f"oi{_PLANES[n]}", n) for n in _RANKS},
        **{f"DepthwiseConv{n}d": _kernel(f"Conv{n}d", f"o1{_PLANES[n]}", n) for n in (1, 2)},
        **{f"ConvTranspose{n}d": _transposed(n) for n in _RANKS[:2]},
        "ConvTranspose3d": _transposed(3)._replace(first={"dilation": 1}),
        "PReLU": Form(Call("PReLU", "n"), {"weight": Slot("w")}, notes=(CHANNELS,)),
        "MultiheadAttention": Form(_ATTENTION),
        "LSTM": _recurrent("LSTM", Note("hx is the tuple (h_0, c_0)")),
        "GRU": _recurrent("GRU"),
        "RNN": _recurrent("RNN", nonlinearity=Arg()),
        "LSTMCell": _cell(
            "LSTMCell", Note("hx, the tuple (h, c), must be given; returns such a tuple")
        ),
        "GRUCell": _cell("GRUCell", _STATE),
        "RNNCell": _cell("RNNCell", _STATE, nonlinearity=Arg()),
    },
)

_IN_MINT = (
    *("Linear", "Embedding", "EmbeddingBag", "LayerNorm", "GroupNorm", "PReLU"),
    *("ConvTranspose2d", "DepthwiseConv1d", "DepthwiseConv2d"),
    *(f"{kind}{n}d" for kind in ("Conv", "BatchNorm") for n in _RANKS),
)


def _as_in_torch(kind: str) -> Form | None:
    nn = FORMS[kind]
    form = torch.FORMS["Embedding" if nn and nn.nearest else kind]  # mint has no EmbeddingBag
    return nn and form and form._replace(also=(), nearest=nn.nearest, notes=nn.notes)


MINT: Forms = within("mint.nn", {kind: _as_in_torch(kind) for kind in FORMS if kind in _IN_MINT})
"""What ``mindspore.mint.nn`` has, under torch's names; other layers are ``mindspore.nn``'s."""
