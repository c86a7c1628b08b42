"""einsum of one or two values: as sums, and as one product of matrices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ckptconv.dialects.torch.network.call import Operator
from ckptconv.graph.network import Value

_EQUATION = re.compile(r"([a-zA-Z]+)(?:,([a-zA-Z]+))?->([a-zA-Z]*)")


def einsum(o: Operator) -> None:
    """Write products over one letter, or over none.

    Raises:
        LossyError: another form, such as ellipses, diagonals, or three values.
    """
    found = _EQUATION.fullmatch(str(o.get("equation")).replace(" ", ""))
    names = o.tensor_names("tensors")
    if not found or any(len({*part}) < len(part) for part in found.groups("")):
        raise o.refuse("another equation than of one or two values, each letter once in each")
    one, other, result = found.groups("")
    values = [o.program.value(name) for name in names]
    left, one = _without(o, values[0], one, other + result)
    if not other:  # torch gives a view
        o.program.view(names[0], o.outputs)
        _ordered(o, left, one, result)
        return
    right, other = _without(o, values[1], other, one + result)
    within = [letter for letter in one if letter not in result]
    if len(within) > 1:
        raise o.refuse("sums over several letters of two values")
    both = [letter for letter in one if letter in other and letter in result]
    first = [letter for letter in one if letter not in other]
    second = [letter for letter in other if letter not in one]
    order = [*both, *first[:-1], *second[:-1], *first[-1:], *second[-1:]]
    if within:
        held = [*both, *first[:-1], *second[:-1]]
        left = _placed(o, left, one, [*held, *(first[-1:] or ["<"]), *within])
        right = _placed(o, right, other, [*held, *within, *(second[-1:] or [">"])])
        made = _made(o, "matmul", [left, right], len(held) + 2, "product")
        ends = [len(held)] * (not first) + [len(held) + 1] * (not second)
        for axis in reversed(ends):
            made = _made(o, "squeeze", [made], made.rank - 1, f"squeezed{axis}", axis=axis)
    else:
        sides = _placed(o, left, one, order), _placed(o, right, other, order)
        made = _made(o, "multiply", sides, len(order), "product")
    _ordered(o, made, "".join(order), result)


def _without(o: Operator, x: Value, letters: str, kept: str) -> tuple[Value, str]:
    """Sum over letters that stand in this value alone."""
    axes = tuple(i for i, letter in enumerate(letters) if letter not in kept)
    if not axes:
        return x, letters
    rest = "".join(letter for letter in letters if letter in kept)
    return _made(o, "sum", [x], len(rest), f"{letters}_sum", axes=axes, keep=False), rest


def _placed(o: Operator, x: Value, letters: str, order: Sequence[str]) -> Value:
    """Bring axes into an order, with axes of one place for letters that a value lacks."""
    own = tuple(letters.index(letter) for letter in order if letter in letters)
    if own != tuple(range(len(own))):
        x = _made(o, "permute", [x], x.rank, "".join(letters), order=own)
    for axis, letter in enumerate(order):
        if letter not in letters:
            x = _made(o, "expand", [x], x.rank + 1, f"at{axis}", axis=axis)
    return x


def _ordered(o: Operator, x: Value, letters: str, result: str) -> None:
    order = tuple(letters.index(letter) for letter in result)
    if order == tuple(range(len(order))):
        o.program.same(o.outputs[0], x)
    else:
        o.give("permute", x, order=order)


def _made(
    o: Operator, op: str, inputs: Sequence[Value], rank: int, word: str, **arguments: object
) -> Value:
    name = f"{o.outputs[0]}_{inputs[0].name}_{word}"
    made = Value(name, (None,) * rank, inputs[0].dtype)
    return o.program.append(op, inputs, made, **arguments)
