"""THE table of layers: every kind with its canonical parameters, hyper-parameters and words.

Canonical names, axes and shapes are torch's. What a framework calls a kind, and how it stores it,
stands in that framework's column (``ckptconv.graph.forms``, ``ckptconv.dialects.*.layers``).

Axis letters are in ``AXES``. Letters that recur within a kind must agree in size. Parameters of a
recurrent kind carry a suffix for each layer and direction (``weight_ih_l0_reverse``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

AXES: Mapping[str, str] = {
    **{"o": "output channels or features", "i": "input channels or features"},
    **{"d": "depth of a kernel", "h": "height of a kernel", "w": "width of a kernel"},
    **{"k": "length of a kernel, or features of an attention's value"},
    **{"v": "vocabulary", "n": "features that are looked up or normalised, or channels"},
    **{"j": "features of a second input, or of an attention's key", "e": "features of attention"},
    **{"g": "stacked gates, or stacked projections", "u": "hidden units"},
    **{"r": "what recurs: hidden units, or their projection", "b": "the two biases of a gate"},
    **{"c": "channels of a depthwise kernel", "m": "outputs for each of these channels"},
    **{"1": "an axis of length one", "*": "any axes"},
}


class Family(Enum):
    """What the arguments of a kind's constructors follow from."""

    PLAIN = auto()
    NORM = auto()
    BATCH_NORM = auto()
    CONVOLUTION = auto()
    TRANSPOSED = auto()
    SLOPES = auto()
    ATTENTION = auto()
    RECURRENT = auto()


class Unknown(Enum):
    """Stands in a call for an argument that nothing tells and that has no default."""

    UNKNOWN = "?"

    def __repr__(self) -> str:
        return "?"


UNKNOWN = Unknown.UNKNOWN


class Param(NamedTuple):
    """One parameter of a kind.

    Attributes:
        fill: what the layer computes with where it has no such parameter.
        needs: a parameter without which this one does not occur.
    """

    name: str
    axes: str
    optional: bool = False
    fill: float = 0.0
    needs: str = ""


class Kind(NamedTuple):
    """A row of the table.

    Attributes:
        words: a pattern for the words of a module's name that speak for this kind.
        hyper: what no shape tells, by torch's names, with torch's defaults.
        rank: of the space that it works in, for kinds that exist for several.
        products: letter of an axis → the letters of the axes that it is the product of.
        sizes: hyper-parameter → the letter whose size it is, where ``products`` hide that.
    """

    name: str
    params: tuple[Param, ...]
    words: str = ""
    family: Family = Family.PLAIN
    hyper: Mapping[str, object] = {}
    rank: int = 0
    products: Mapping[str, str] = {}
    sizes: Mapping[str, str] = {}


def _optional(name: str, axes: str, fill: float = 0, needs: str = "") -> Param:
    return Param(name, axes, optional=True, fill=fill, needs=needs)


_AFFINE = (_optional("weight", "n", 1, "bias"), _optional("bias", "n", 0, "weight"))
_STATISTICS = (
    _optional("running_mean", "n", 0, "running_var"),
    _optional("running_var", "n", 1, "running_mean"),
    _optional("num_batches_tracked", "", 0, "running_var"),
)
# MindSpore's InstanceNorm carries statistics that it never uses. torch's with
# track_running_stats computes what BatchNorm does, and is read as that.
_UNUSED = (_optional("running_mean", "n"), _optional("running_var", "n", 1))
_BIAS = _optional("bias", "o")
_TABLE = (Param("weight", "vn"),)
_EMBED = r"embed\w*|embs?|wte|wpe|lookup|vocab\w*"
_LINEAR = (
    r"fc|linear\w*|lin|dense|proj\w*|heads?|out|outputs?|decoder|classifier|logits?|affine"
    r"|query|key|value|[qkvo]|mlp|ffn|predictor"
)
_TRANSPOSED = r"deconv\w*|up_?conv|up|transpose\w*|conv_?transpose\w*|conv_?t"
_SPACE = {1: "k", 2: "hw", 3: "dhw"}
_MOMENTUM = {"eps": 1e-5, "momentum": 0.1}
_KERNEL = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
_SEQUENCE = {"batch_first": False, "dropout": 0.0}
_NONLINEARITY = {"nonlinearity": "tanh"}
_CELL = (
    Param("weight_ih", "gi"),
    Param("weight_hh", "gr"),
    _optional("bias_ih", "g", needs="bias_hh"),
    _optional("bias_hh", "g", needs="bias_ih"),
)


def _batch_norm(rank: int) -> Kind:
    words = r"bn|batch_?norm\w*"
    params = (*_AFFINE, *_STATISTICS)
    return Kind(f"BatchNorm{rank}d", params, words, Family.BATCH_NORM, _MOMENTUM, rank)


def _instance_norm(rank: int) -> Kind:
    words = r"inst(ance)?_?norm\w*|inorm"
    params = (*_AFFINE, *_UNUSED)
    return Kind(f"InstanceNorm{rank}d", params, words, Family.BATCH_NORM, _MOMENTUM, rank)


def _conv(rank: int) -> Kind:
    params = (Param("weight", f"oi{_SPACE[rank]}"), _BIAS)
    return Kind(f"Conv{rank}d", params, "conv", Family.CONVOLUTION, _KERNEL, rank)


def _depthwise(rank: int) -> Kind:
    return Kind(
        f"DepthwiseConv{rank}d",
        (Param("weight", f"o1{_SPACE[rank]}"), _BIAS),
        r"depth_?wise\w*|dw",
        Family.CONVOLUTION,
        _KERNEL,
        rank,
        products={"o": "cm"},
        sizes={"groups": "c"},
    )


def _conv_transpose(rank: int) -> Kind:
    params = (Param("weight", f"io{_SPACE[rank]}"), _BIAS)
    hyper = {**_KERNEL, "output_padding": 0}
    return Kind(f"ConvTranspose{rank}d", params, _TRANSPOSED, Family.TRANSPOSED, hyper, rank)


def _recurrent(name: str, hyper: Mapping[str, object], *more: Param) -> Kind:
    return Kind(name, (*_CELL, *more), family=Family.RECURRENT, hyper=hyper)


_ATTENTION = Kind(
    "MultiheadAttention",
    (
        _optional("in_proj_weight", "gi"),
        _optional("q_proj_weight", "oi", needs="k_proj_weight"),
        _optional("k_proj_weight", "oj", needs="v_proj_weight"),
        _optional("v_proj_weight", "ok", needs="q_proj_weight"),
        _optional("in_proj_bias", "g"),
        _optional("bias_k", "11o", needs="bias_v"),
        _optional("bias_v", "11o", needs="bias_k"),
        Param("out_proj.weight", "oe"),
        _optional("out_proj.bias", "o"),
    ),
    family=Family.ATTENTION,
    hyper={"num_heads": UNKNOWN, "add_zero_attn": False, **_SEQUENCE},
)
_NORMS = (
    Kind(
        "LayerNorm",
        (Param("weight", "*", fill=1), _optional("bias", "*")),
        r"ln|lnorm|layer_?norm\w*",
        Family.NORM,
        {"eps": 1e-5},
    ),
    Kind(
        "GroupNorm",
        (Param("weight", "n", fill=1), Param("bias", "n")),
        r"gn|group_?norm\w*",
        hyper={"num_groups": UNKNOWN, "eps": 1e-5},
    ),
    Kind("RMSNorm", (Param("weight", "*"),), r"rms|rms_?norm\w*", Family.NORM, {"eps": None}),
)
_RANKS = (1, 2, 3)
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("Linear", (Param("weight", "oi"), _BIAS), _LINEAR),
        Kind("Bilinear", (Param("weight", "oij"), _BIAS), r"bilinear|bi_?dense"),
        Kind("Embedding", _TABLE, _EMBED, hyper={"padding_idx": None}),
        Kind("EmbeddingBag", _TABLE, _EMBED, hyper={"mode": "mean", "padding_idx": None}),
        *_NORMS,
        *map(_batch_norm, _RANKS),
        *map(_instance_norm, _RANKS),
        *map(_conv, _RANKS),
        *map(_depthwise, (1, 2)),
        *map(_conv_transpose, _RANKS),
        Kind("PReLU", (Param("weight", "n"),), r"p_?relu|act|activation", Family.SLOPES),
        _ATTENTION,
        _recurrent("LSTM", _SEQUENCE, _optional("weight_hr", "ru")),
        _recurrent("GRU", _SEQUENCE),
        _recurrent("RNN", {**_NONLINEARITY, **_SEQUENCE}),
        _recurrent("LSTMCell", {}),
        _recurrent("GRUCell", {}),
        _recurrent("RNNCell", _NONLINEARITY),
    )
}

PARAMETER = "Parameter"
"""The kind of what no row explains: kept under its name, and said so."""


def without_rank(kind: str) -> str:
    """Return what a kind is called in spaces of any rank: ``Conv`` for ``Conv2d``."""
    return kind.removesuffix(f"{KINDS[kind].rank}d") if kind in KINDS else kind
