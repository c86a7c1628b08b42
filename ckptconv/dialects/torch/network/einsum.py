"""einsum: as sums, and as products of two values after another."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ckptconv.dialects.torch.network.call import Operator
from ckptconv.graph.network import Value

_EQUATION = re.compile(r"([a-zA-Z]+(?:,[a-zA-Z]+)*)->([a-zA-Z]*)")
_Lettered = tuple[Value, str]
"""A value, and the letters of its axes."""


def einsum(o: Operator) -> None:
    """Write a product of values two by two, from the left.

    Raises:
        LossyError: another form, such as ellipses or diagonals.
    """
    found = _EQUATION.fullmatch(str(o.get("equation")).replace(" ", ""))
    parts, result = (found[1].split(","), found[2]) if found else ([], "")
    if not found or any(len({*part}) < len(part) for part in (*parts, result)):
        raise o.refuse("another equation than of values with each letter once in each")
    names = o.tensor_names("tensors")
    values = [o.program.value(name) for name in names]
    sizes = {(n, size) for v, part in zip(values, parts, strict=True)
             for n, size in zip(part, v.shape, strict=True) if n not in result}  # fmt: skip
    if any(size == 1 and len([0 for m, _ in sizes if m == n]) > 1 for n, size in sizes):
        raise o.refuse("sums over axes of which one is repeated")
    made, letters = _without(o, values[0], parts[0], "".join((*parts[1:], result)))
    for at, (value, part) in enumerate(zip(values[1:], parts[1:], strict=True), 2):
        kept = "".join((*parts[at:], result))
        made, letters = _product(o, (made, letters), (value, part), kept)
    if len(names) == 1:  # torch gives a view
        o.program.view(names[0], o.outputs)
    _ordered(o, made, letters, result)


def _product(o: Operator, left: _Lettered, right: _Lettered, kept: str) -> _Lettered:
    """Multiply two values, and sum over what no later one and not the result has."""
    one, other = left[1], right[1]
    first_value, one = _without(o, *left, other + kept)
    second_value, other = _without(o, *right, one + kept)
    within = [letter for letter in one if letter in other and letter not in kept]
    both = [letter for letter in one if letter in other and letter in kept]
    first = [letter for letter in one if letter not in other]
    second = [letter for letter in other if letter not in one]
    order = [*both, *first[:-1], *second[:-1], *first[-1:], *second[-1:]]
    if len(within) != 1:
        order += within
        sides = _placed(o, first_value, one, order), _placed(o, second_value, other, order)
        made = _made(o, "multiply", sides, len(order), "product")
        return _without(o, made, "".join(order), kept)
    held = [*both, *first[:-1], *second[:-1]]
    a = _placed(o, first_value, one, [*held, *(first[-1:] or ["<"]), *within])
    b = _placed(o, second_value, other, [*held, *within, *(second[-1:] or [">"])])
    made = _made(o, "matmul", [a, b], len(held) + 2, "product")
    ends = [len(held)] * (not first) + [len(held) + 1] * (not second)
    for axis in reversed(ends):
        made = _made(o, "squeeze", [made], made.rank - 1, f"squeezed{axis}", axis=axis)
    return made, "".join(order)


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
