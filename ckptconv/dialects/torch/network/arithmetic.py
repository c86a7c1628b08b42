"""aten operators of two values: sums, products, powers, and what is logical."""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.dialects.torch.network import sizes
from ckptconv.dialects.torch.network.call import Operator, Rule, number
from ckptconv.graph.network import Value


def pair(op: str) -> Rule:
    def rule(o: Operator) -> None:
        alpha = number(o, "alpha", 1)
        if o.has_tensor("other"):
            first, second = _narrowed(o, o.tensor("self"), o.tensor("other"))
            pair = first, times(o, second if alpha == 1 else o.typed(second), alpha)
            if all(value.dtype == "bool" for value in pair):
                raise o.refuse("two bools, which are no numbers elsewhere")
            o.give(op, *pair)
        else:
            given = [o.tensor("self")]
            other = sizes.number_or_size(o, "other", given)
            if alpha != 1:
                other = alpha * number(o, "other")
            o.give(f"{op}_number", *given, number=other)

    return rule


def _narrowed(o: Operator, x: Value, y: Value) -> tuple[Value, Value]:
    """Let a single number not widen the value that it goes with, as it does elsewhere."""
    if x.dtype == y.dtype or bool(x.rank) == bool(y.rank):
        return x, y
    return (x, o.typed(y)) if x.rank else (o.typed(x), y)


def times(o: Operator, x: Value, alpha: float) -> Value:
    if alpha == 1:
        return x
    if alpha != int(alpha) and o.gives_whole:
        raise o.refuse(f"a factor of {alpha} for whole numbers")
    return o.between("multiply_number", x, number=alpha)


def logical(op: str) -> Rule:
    """Take numbers for whether they are not zero."""

    def rule(o: Operator) -> None:
        o.give(op, *(truth(o, o.tensor(key)) for key in ("self", "other") if key in o.given))

    return rule


def truth(o: Operator, x: Value) -> Value:
    if x.dtype == "bool":
        return x
    return o.between("compare_number", x, by="ne", number=0, dtype="bool")


def bits(word: str) -> Rule:
    """Take an operator that is logical for bool, and for whole numbers goes bit by bit."""

    def rule(o: Operator) -> None:
        keys = [key for key in ("self", "other") if o.has_tensor(key)]
        dtypes = {o.tensor(key).dtype == "bool" for key in keys}
        if dtypes == {True} and len(keys) == 2:
            logical(f"logical_{word}")(o)
        elif dtypes == {False}:
            pair(f"bitwise_{word}")(o)
        else:
            raise o.refuse("bits of bools and numbers")

    return rule


def _inverted(o: Operator) -> None:
    if (x := o.tensor("self")).dtype == "bool":
        o.give("logical_not", x)
    else:
        o.give("number_subtract", x, number=-1)


def _divided(o: Operator) -> None:
    mode = o.get("rounding_mode")
    if mode == "trunc":
        raise o.refuse("rounding_mode='trunc'")
    pair("floor_divide" if mode == "floor" else "divide")(o)


def _reversed_subtraction(o: Operator) -> None:
    x = times(o, o.tensor("self"), number(o, "alpha", 1))
    o.give("number_subtract", x, number=number(o, "other"))


def _power(o: Operator) -> None:
    if not o.has_tensor("exponent"):
        o.give("power_number", o.tensor("self"), number=number(o, "exponent"))
        return
    exponent = o.tensor("exponent")
    if o.gives_whole and exponent.dtype != "bool":
        _whole_power(o, exponent)
    elif o.has_tensor("self"):
        o.give("power", o.tensor("self"), exponent)
    else:
        o.give("number_power", exponent, number=number(o, "self"))


def _whole_power(o: Operator, exponent: Value) -> None:
    """Raise a whole number, of which a negative power is zero in torch and anything elsewhere."""
    if o.has_tensor("self") or abs(base := number(o, "self")) < 2:
        raise o.refuse("whole numbers as both")
    power = o.between("clip", exponent, low=0, high=None)
    power = o.between("number_power", power, number=base)
    told = o.between("compare_number", exponent, by="ge", number=0, dtype="bool")
    o.give("where_number", told, power, number=0)


def _matmul(o: Operator) -> None:
    o.give("matmul", o.tensor("self"), o.tensor("mat2" if "mat2" in o.given else "other"))


def _added_product(first: str, second: str) -> Rule:
    """beta · self + alpha · first @ second."""

    def rule(o: Operator) -> None:
        one, other = o.tensor(first), o.tensor(second)
        product = times(o, o.between("matmul", one, other), number(o, "alpha", 1))
        o.give("add", times(o, o.tensor("self"), number(o, "beta", 1)), product)

    return rule


def _added(op: str) -> Rule:
    """self + value · tensor1 op tensor2."""

    def rule(o: Operator) -> None:
        found = o.between(op, *(o.typed(o.tensor(key)) for key in ("tensor1", "tensor2")))
        o.give("add", o.tensor("self"), times(o, found, number(o, "value", 1)))

    return rule


def _outer(o: Operator) -> None:
    x = o.tensor("self")
    rows = Value(f"{o.outputs[0]}_rows", (*x.shape, 1), x.dtype)
    o.give("multiply", o.program.append("expand", [x], rows, axis=1), o.tensor("vec2"))


def _between_two(o: Operator) -> None:
    start, end = o.tensor("self"), o.tensor("end")
    way = o.between("subtract", end, start)
    if o.has_tensor("weight"):
        way = o.between("multiply", way, o.tensor("weight"))
    else:
        way = times(o, way, number(o, "weight"))
    o.give("add", start, way)


RULES: Mapping[str, Rule] = {
    **{n: pair(op) for n, op in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"))},
    **{n: pair(n) for n in ("minimum", "maximum", "floor_divide", "remainder")},
    **{"div": _divided, "rsub": _reversed_subtraction, "pow": _power},
    "reciprocal": lambda o: o.give("number_divide", o.tensor("self"), number=1),
    **{f"logical_{word}": logical(f"logical_{word}") for word in ("and", "or", "xor", "not")},
    **{
        f"{name}{word}{end}": bits(word)
        for word in ("and", "or", "xor")
        for name, end in (("bitwise_", ""), ("__", "__"))
    },
    "bitwise_not": _inverted,
    **dict.fromkeys(("matmul", "bmm", "mm"), _matmul),
    "addmm": _added_product("mat1", "mat2"),
    "baddbmm": _added_product("batch1", "batch2"),
    **{
        "addcmul": _added("multiply"),
        "addcdiv": _added("divide"),
        "lerp": _between_two,
        "outer": _outer,
    },
}
