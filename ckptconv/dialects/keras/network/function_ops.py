"""Operations of Keras 3 that are functions of each number and its dtype, such as ``ops.relu``."""

from __future__ import annotations

from ckptconv.dialects.keras.network.builder import Builder, Site, masked
from ckptconv.dialects.keras.network.elementwise import relu
from ckptconv.dialects.keras.network.operation import Rule, Rules, name_of, number
from ckptconv.dialects.keras.network.promotion import (
    FLOAT,
    WHOLE_DTYPES,
    converted,
    floats,
    numbers,
    with_number,
)
from ckptconv.graph.network import Value

_FLOATS = {
    **{"Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Sqrt": "sqrt", "Rsqrt": "rsqrt"},
    **{"Log": "log", "Log1p": "log1p", "Log2": "log2", "Log10": "log10", "Expm1": "expm1"},
    **{"Sin": "sin", "Cos": "cos", "Arctan": "atan", "Erf": "erf", "Silu": "silu"},
    **{"Softplus": "softplus", "Softsign": "softsign", "HardSigmoid": "hard_sigmoid"},
    **{"Floor": "floor", "Ceil": "ceil", "Selu": "selu", "LogSigmoid": "log_sigmoid"},
    **{"HardSilu": "hard_silu", "TanhShrink": "tanh_shrink"},
}
"""Operations → ops; of whole numbers they are floats."""
_KEPT = {"Relu": "relu", "Absolute": "abs", "Negative": "negative", "Square": "square",
         "Sign": "sign", "Relu6": "relu6", "HardTanh": "hard_tanh"}  # fmt: skip
"""Operations → ops; of whole numbers they are whole."""
_BOUNDED = ("Relu6", "HardTanh")
"""Those that torch and MindSpore give for floats alone."""
_CASTS = ("float32", "int32", "int64", "bool")


def _of_floats(b: Builder, site: Site) -> list[Value]:
    return [b.add(_FLOATS[name_of(site)], (floats(b, site.x),))]


def _of_numbers(b: Builder, site: Site) -> list[Value]:
    x, name = site.x, name_of(site)
    if name in ("Absolute", "Sign") and x.dtype == "bool":
        return [masked(x, None)]
    x = numbers(b, x)
    given = floats(b, x) if name in _BOUNDED else x
    return [converted(b, b.add(_KEPT[name], (given,)), x.dtype)]


def _gelu(b: Builder, site: Site) -> list[Value]:
    op = "gelu_tanh" if site.get("approximate", default=True) else "gelu"
    return [b.add(op, (floats(b, site.x),))]


def _leaky(b: Builder, site: Site) -> list[Value]:
    slope = number(site, site.get("negative_slope", default=0.2))
    return [b.add("leaky_relu", (floats(b, site.x),), slope=slope)]


def _elu(b: Builder, site: Site) -> list[Value]:
    alpha = number(site, site.get("alpha", default=1.0))
    x = floats(b, site.x)
    return [b.add("elu", (x,)) if alpha == 1 else b.add("elu", (x,), alpha=alpha)]


def _bent(b: Builder, site: Site) -> list[Value]:
    """``activations.relu``, which unlike the layer hands no mask on."""
    op, settings = relu(site)
    x = numbers(b, site.x)
    if settings and x.dtype in WHOLE_DTYPES:
        raise site.refuse("a bounded or leaky relu of whole numbers")
    return [b.add(op, (x,), **settings)]


def _power(b: Builder, site: Site) -> list[Value]:
    x, by = site.kwargs["args"]
    if not isinstance(x, Value) or isinstance(by, Value):
        raise site.refuse("a power that is no number")
    by = number(site, by)
    x = numbers(b, x)
    dtype = with_number(x.dtype, by)
    if dtype != FLOAT and by < 0:
        raise site.refuse("a negative power of whole numbers")
    return [b.add("power_number", (converted(b, x, dtype),), number=by)]


def _reciprocal(b: Builder, site: Site) -> list[Value]:
    return [b.add("number_divide", (floats(b, site.x),), number=1.0)]


def _cast(b: Builder, site: Site) -> list[Value]:
    """Convert; what has that dtype already is the same value, with its mask."""
    dtype, x = site.get("dtype"), site.x
    if dtype in (None, x.dtype):
        return [x]
    if dtype not in _CASTS:
        raise site.refuse(f"a conversion to {dtype}"[:100])
    return [converted(b, x, dtype)]


def _same(_: Builder, site: Site) -> list[Value]:
    return [masked(site.x, None)]


def _like(value: bool) -> Rule:
    def rule(b: Builder, site: Site) -> list[Value]:
        if site.get("dtype") != "bool":
            raise site.refuse("zeros or ones that are no mask")
        return [b.add("ones_like" if value else "zeros_like", (site.x,), dtype="bool")]

    return rule


RULES: Rules = {
    **dict.fromkeys(_FLOATS, (_of_floats, ())),
    **dict.fromkeys(_KEPT, (_of_numbers, ())),
    "Gelu": (_gelu, ("approximate",)),
    "LeakyRelu": (_leaky, ("negative_slope",)),
    "Elu": (_elu, ("alpha",)),
    "ReLU": (_bent, ("negative_slope", "max_value", "threshold")),
    "Power": (_power, ()),
    "Reciprocal": (_reciprocal, ()),
    "Cast": (_cast, ("dtype",)),
    "StopGradient": (_same, ()),
    "ConvertToTensor": (_cast, ("dtype",)),
    "ZerosLike": (_like(False), ("dtype",)),
    "OnesLike": (_like(True), ("dtype",)),
}
