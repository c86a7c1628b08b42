"""THE table of aten operators: what each becomes in a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ckptconv.dialects.torch.network import layers, masks, pools, shapes
from ckptconv.dialects.torch.network.call import Operator, number
from ckptconv.graph.network import Value

Rule = Callable[[Operator], None]


def _one(op: str) -> Rule:
    return lambda o: o.give(op, o.tensor("self"))


def _pair(op: str) -> Rule:
    def rule(o: Operator) -> None:
        if o.get("rounding_mode") is not None:
            raise o.refuse("a rounding mode")
        alpha = number(o, "alpha", 1)
        if o.has_tensor("other"):
            pair = o.tensor("self"), _times(o, o.tensor("other"), alpha)
            if all(value.dtype == "bool" for value in pair) and op != "logical_and":
                raise o.refuse("two bools, which are no numbers elsewhere")
            o.give(op, *pair)
        else:
            o.give(f"{op}_number", o.tensor("self"), number=alpha * number(o, "other"))

    return rule


def _times(o: Operator, x: Value, alpha: float) -> Value:
    return x if alpha == 1 else o.between("multiply_number", x, number=alpha)


def _of_bools(rule: Rule) -> Rule:
    """Take an operator that is logical for bool, and for whole numbers goes bit by bit."""

    def checked(o: Operator) -> None:
        keys = [key for key in ("self", "other") if key in o.given]
        if not all(o.has_tensor(key) and o.tensor(key).dtype == "bool" for key in keys):
            raise o.refuse("bits of whole numbers")
        rule(o)

    return checked


def _reversed_subtraction(o: Operator) -> None:
    x = _times(o, o.tensor("self"), number(o, "alpha", 1))
    o.give("number_subtract", x, number=number(o, "other"))


def _power(o: Operator) -> None:
    if not o.has_tensor("self"):
        o.give("number_power", o.tensor("exponent"), number=number(o, "self"))
    elif o.has_tensor("exponent"):
        o.give("power", o.tensor("self"), o.tensor("exponent"))
    else:
        o.give("power_number", o.tensor("self"), number=number(o, "exponent"))


def _matmul(o: Operator) -> None:
    o.give("matmul", o.tensor("self"), o.tensor("mat2" if "mat2" in o.given else "other"))


def _reduce(op: str) -> Rule:
    def rule(o: Operator) -> None:
        given = o.get("dim")
        rank = o.tensor("self").rank
        axes = sorted(n % rank for n in ([given] if isinstance(given, int) else given or ()))
        if not axes:
            raise o.refuse("all axes, the batch's too")
        keep = bool(o.get("keepdim", False))
        # max.dim gives (values, indices)
        o.program.give(op, [o.typed()], o.outputs[:1], axes=tuple(axes), keep=keep)

    return rule


def _maximum(o: Operator) -> None:
    (_pair("maximum") if o.has_tensor("other") else _reduce("amax"))(o)


def _softmax(op: str) -> Rule:
    return lambda o: o.give(op, o.typed(), axis=o.axis(default=-1))


def _clip(o: Operator) -> None:
    none = {"min": (None, -math.inf), "max": (None, math.inf)}
    low, high = (None if o.get(key) in said else number(o, key) for key, said in none.items())
    if low is None and high is None:
        raise o.refuse("no bounds")
    o.give("clip", o.typed(), low=low, high=high)


def _hard_tanh(o: Operator) -> None:
    """Whole numbers stay whole, and so do their limits."""
    low, high = number(o, "min_val", -1.0), number(o, "max_val", 1.0)
    if "int" in o.program.dtype(o.outputs[0]):
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


def _leaky(o: Operator) -> None:
    o.give("leaky_relu", o.tensor("self"), slope=number(o, "negative_slope", 0.01))


def _softplus(o: Operator) -> None:
    if o.get("beta", 1) != 1 or o.get("threshold", 20) != 20:
        raise o.refuse("beta or a threshold")
    o.give("softplus", o.tensor("self"))


def _dropout(o: Operator) -> None:
    if o.get("train", False) and o.get("p"):
        raise o.refuse("effect in inference: export the model after eval()")
    if o.is_in_place:
        shapes.same(o)
        return
    o.give("dropout", o.tensor("input"), rate=float(number(o, "p", 0.5)))


def _pad(o: Operator) -> None:
    if o.get("mode", "constant") != "constant":
        raise o.refuse("another mode than constant")
    value = number(o, "value", 0.0) if o.get("value") is not None else 0.0
    o.give("pad", o.tensor("self"), sides=tuple(o.get("pad")), value=float(value))


def _zeros(o: Operator) -> None:
    """Zeros: most are first states, which layers have by themselves."""
    o.program.zeros.add(o.outputs[0])
    sizes = o.given.get("size", {}).get("as_sym_ints")
    shape, dtype = o.shape, o.program.dtype(o.outputs[0])
    free = [i for i, n in enumerate(shape) if n is None]
    if not free:
        o.program.give("zeros", [], o.outputs, sizes=tuple(n or 0 for n in shape), dtype=dtype)
        return
    if o.name == "zeros_like":
        o.give("zeros_as", o.tensor("self"), dtype=dtype)
        return
    if len(free) > 1 or sizes is None or "as_name" not in sizes[free[0]]:
        raise o.refuse("sizes that are computed")
    tensor, axis = o.program.sizes[sizes[free[0]]["as_name"]]
    sizes_ = tuple(-1 if n is None else n for n in shape)
    o.give("zeros_of", o.program.value(tensor), sizes=sizes_, axis=axis, dtype=dtype)


_ONE = {
    **{name: name for name in ("relu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "abs")},
    **{name: name for name in ("sin", "cos", "selu", "silu", "mish", "relu6", "square")},
    **{"neg": "negative", "hardswish": "hard_silu", "hardsigmoid": "hard_sigmoid"},
    **{"softsign": "softsign", "log_sigmoid": "log_sigmoid"},
}
RULES: Mapping[str, Rule] = {
    **layers.RULES,
    **masks.RULES,
    **pools.RULES,
    **{name: _one(op) for name, op in _ONE.items()},
    **{name: _one(op) for name, op in (("relu_", "relu"), ("tanh_", "tanh"), ("silu_", "silu"))},
    **{n: _pair(op) for n, op in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"))},
    **{"div": _pair("divide"), "maximum": _pair("maximum"), "minimum": _pair("minimum")},
    **{"add_": _pair("add"), "mul_": _pair("multiply"), "rsub": _reversed_subtraction},
    "reciprocal": lambda o: o.give("number_divide", o.tensor("self"), number=1),
    **{"pow": _power, "matmul": _matmul, "bmm": _matmul, "mm": _matmul},
    **{"mean": _reduce("mean"), "sum": _reduce("sum"), "amax": _reduce("amax")},
    **{"amin": _reduce("amin"), "max": _maximum},
    **{"softmax": _softmax("softmax"), "_softmax": _softmax("softmax")},
    **{"log_softmax": _softmax("log_softmax"), "_log_softmax": _softmax("log_softmax")},
    **{"glu": _softmax("glu")},
    **dict.fromkeys(("permute", "transpose", "t", "numpy_T", "mT"), shapes.permute),
    **dict.fromkeys(("view", "reshape", "_unsafe_view", "flatten", "squeeze"), shapes.shaped),
    **dict.fromkeys(("unsqueeze", "unflatten"), shapes.shaped),
    **{
        "select": shapes.select,
        "slice": shapes.slice,
        "cat": shapes.several("concat"),
        "stack": shapes.several("stack"),
    },
    **dict.fromkeys(("chunk", "split", "split_with_sizes"), shapes.chunk),
    **{
        "repeat": shapes.repeat,
        "flip": shapes.flip,
        "clamp": _clip,
        "clamp_max": _clip,
        "hardtanh": _hard_tanh,
        "hardtanh_": _hard_tanh,
    },
    **{"logical_not": _one("logical_not"), "logical_and": _pair("logical_and")},
    "bitwise_not": _of_bools(_one("logical_not")),
    **dict.fromkeys(("bitwise_and", "__and__"), _of_bools(_pair("logical_and"))),
    **{"pad": _pad, "expand": shapes.expand, "unbind": shapes.unbind, "clamp_min": _clip},
    **{"gelu": _gelu, "elu": _elu, "elu_": _elu, "leaky_relu": _leaky, "leaky_relu_": _leaky},
    **{
        "softplus": _softplus,
        "dropout": _dropout,
        "feature_dropout": _dropout,
        "dropout_": _dropout,
    },
    **dict.fromkeys(("contiguous", "clone", "detach", "alias", "lift_fresh_copy"), shapes.same),
    **dict.fromkeys(("zeros", "new_zeros", "zeros_like"), _zeros),
}
