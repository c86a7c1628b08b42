"""aten operators of one value: functions of each number, softmaxes, limits, edges."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ckptconv.dialects.torch.network import masks, shapes
from ckptconv.dialects.torch.network.call import Operator, Rule, number


def _one(op: str) -> Rule:
    return lambda o: o.give(op, o.typed())


def _kept(op: str, dtype: str) -> Rule:
    """Take a function that leaves numbers of such dtypes as they are."""
    return lambda o: shapes.same(o) if dtype in o.tensor("self").dtype else o.give(op, o.typed())


def _logarithm(op: str) -> Rule:
    """Take what makes minus infinity of zeros, and so of masks."""

    def rule(o: Operator) -> None:
        o.program.infinite = True
        _one(op)(o)

    return rule


def _about(op: str) -> Rule:
    """Take a function that tells of floating-point numbers what they are."""

    def rule(o: Operator) -> None:
        if "float" not in o.tensor("self").dtype:
            raise o.refuse("whole numbers")
        o.give(op, o.tensor("self"))

    return rule


def _nan_to_num(o: Operator) -> None:
    if "float" not in o.tensor("self").dtype:
        o.rest_is_told()
        shapes.same(o)
        return
    if o.get("posinf") is not None or o.get("neginf") is not None:
        raise o.refuse("numbers for infinities")
    o.give("nan_to_num", o.tensor("self"), nan=0.0 if o.get("nan") is None else number(o, "nan"))


def _relu6(o: Operator) -> None:
    if o.gives_whole:
        o.give("clip", o.tensor("self"), low=0, high=6)
    else:
        o.give("relu6", o.typed())


def _along(op: str) -> Rule:
    return lambda o: o.give(op, o.typed(), axis=o.axis(default=-1))


def _softmax(o: Operator) -> None:
    x, axis = o.typed(), o.axis(default=-1)
    if o.program.infinite:
        masks.softmax(o, x, axis)
    else:
        o.give("softmax", x, axis=axis)


def _clip(o: Operator) -> None:
    none = {"min": (None, -math.inf), "max": (None, math.inf)}
    low, high = (None if o.get(key) in said else number(o, key) for key, said in none.items())
    if low is None and high is None:
        raise o.refuse("no bounds")
    o.give("clip", o.typed(), low=low, high=high)


def _hard_tanh(o: Operator) -> None:
    """Whole numbers stay whole, and so do their limits."""
    low, high = number(o, "min_val", -1.0), number(o, "max_val", 1.0)
    if o.gives_whole:
        low, high = int(low), int(high)
    o.give("clip", o.tensor("self"), low=low, high=high)


def _gelu(o: Operator) -> None:
    if o.get("approximate", "none") != "none":
        o.give("gelu_tanh", o.tensor("self"))
    else:
        o.give("gelu", o.tensor("self"))


def _elu(o: Operator) -> None:
    if o.get("scale", 1) != 1 or o.get("input_scale", 1) != 1:
        raise o.refuse("a scale")
    o.give("elu", o.tensor("self"), alpha=float(number(o, "alpha", 1.0)))


def _celu(o: Operator) -> None:
    alpha, x = float(number(o, "alpha", 1.0)), o.tensor("self")
    if alpha == 1:
        o.give("celu", x)
    elif alpha > 0:
        bent = o.between("elu", o.between("multiply_number", x, number=1 / alpha))
        o.give("multiply_number", bent, number=alpha)
    else:
        raise o.refuse(f"alpha={alpha}")


def _shrink(op: str) -> Rule:
    def rule(o: Operator) -> None:
        if (bound := number(o, "lambd", 0.5)) != 0.5:
            raise o.refuse(f"lambd={bound}")
        o.give(op, o.tensor("self"))

    return rule


def _threshold(o: Operator) -> None:
    x, bounds = o.typed(), [number(o, key) for key in ("threshold", "value")]
    if o.gives_whole:
        raise o.refuse("whole numbers")
    told = o.between("compare_number", x, by="gt", number=bounds[0], dtype="bool")
    o.give("where_number", told, x, number=bounds[1])


def _leaky(o: Operator) -> None:
    o.give("leaky_relu", o.tensor("self"), slope=number(o, "negative_slope", 0.01))


def _softplus(o: Operator) -> None:
    beta, threshold = number(o, "beta", 1), number(o, "threshold", 20)
    if (beta, threshold) == (1, 20):
        o.give("softplus", o.tensor("self"))
    else:
        o.give("softplus", o.tensor("self"), beta=beta, threshold=threshold)


def _dropout(o: Operator) -> None:
    rate = float(number(o, "p", 0.5))
    if o.get("train", False) and rate:
        raise o.refuse("effect in inference: export the model after eval()")
    if o.is_in_place or rate == 1:  # of which MindSpore has none
        shapes.same(o)
    else:
        o.give("dropout", o.tensor("input"), rate=rate)


def _pad(o: Operator) -> None:
    sides, mode = tuple(o.get("pad")), o.get("mode", "constant")
    if not sides:
        o.rest_is_told()
        o.program.same(o.outputs[0], o.tensor("self"))
    elif mode == "constant":
        o.give("pad", o.tensor("self"), sides=sides, value=float(number(o, "value", 0.0)))
    elif mode in _EDGES and min(sides) >= 0:
        o.give("pad_edge", o.tensor("self"), sides=sides, mode=mode)
    else:
        raise o.refuse(f"mode={mode!r}, or sides that are cut off")


_DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
_EDGES = ("reflect", "replicate", "circular")
_ONE = {
    **{name: name for name in ("relu", "sigmoid", "tanh", "exp", "sqrt", "rsqrt", "abs")},
    **{name: name for name in ("sin", "cos", "selu", "silu", "mish", "square")},
    **{"neg": "negative", "hardswish": "hard_silu", "hardsigmoid": "hard_sigmoid"},
    **{name: name for name in ("softsign", "log_sigmoid", "expm1", "erf", "erfc", "exp2")},
    **{name: name for name in ("tan", "asin", "acos", "atan")},
    **{name: name for name in ("sinh", "cosh", "asinh", "acosh", "atanh")},
}
RULES: Mapping[str, Rule] = {
    **{name: _one(op) for name, op in _ONE.items()},
    **{name: _logarithm(name) for name in ("log", "log2", "log10", "log1p")},
    **{name: _kept(name, "int") for name in ("floor", "ceil", "round", "trunc")},
    **{"sign": _kept("sign", "bool"), "relu6": _relu6},
    **{"softmax": _softmax, "_softmax": _softmax, "glu": _along("glu")},
    **{"log_softmax": _along("log_softmax"), "_log_softmax": _along("log_softmax")},
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), _clip),
    **{"hardtanh": _hard_tanh, "gelu": _gelu, "elu": _elu, "leaky_relu": _leaky},
    **{name: _about(name) for name in ("isnan", "isinf", "isfinite")},
    **{"softplus": _softplus, "pad": _pad, "nan_to_num": _nan_to_num},
    **{"celu": _celu, "threshold": _threshold},
    **{"hardshrink": _shrink("hard_shrink"), "softshrink": _shrink("soft_shrink")},
    **dict.fromkeys(_DROPOUTS, _dropout),
}
