"""Changes in place: what is written into a part of a value gives the whole anew.

A program is read once, in order: a name stands for what its numbers are by then. An operator that
writes over a part of a value gives that part; every value of which it is a known part is put
together again, and all others that look at the same numbers are not to be used any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptconv.dialects.torch.network.call import Operator, Rule, number
from ckptconv.dialects.torch.network.choosing import places
from ckptconv.dialects.torch.network.program import Part, Program
from ckptconv.dialects.torch.network.shapes import VIEWS
from ckptconv.errors import LossyError
from ckptconv.graph.network import Value

_ALIASES = ("alias", "detach")
_TURNED = ("t", "transpose", "swapaxes", "squeeze", "unsqueeze")
"""In place, they change the axes of what they take, and no numbers."""
_TRUTHS = (
    "eq",
    "ne",
    "gt",
    "ge",
    "lt",
    "le",
    *(f"logical_{w}" for w in ("and", "or", "xor", "not")),
)
"""What they give is bool; in place, it becomes what the value holds."""
_WIDER = ("bool", "int32", "int64", "float16", "float32", "float64")
KEPT = "eval() before torch.export, or what it keeps as an input and an output of the model"
_DEEPEST = 8
"""Views of views that are put together again: each takes some nodes for every write."""


def require_own(program: Program, o: Operator) -> None:
    """Refuse to write over a weight or a buffer, which a model keeps for its next call.

    Raises:
        LossyError: an operator in place does.
    """
    first = _first(o)
    path = program.looked_at(o.tensor_name(first)) if first and o.is_in_place else None
    if path is not None:
        problem = f"{o.called} changes a buffer, which the next call finds so"
        raise LossyError(problem, tensor=path, hint=KEPT)


def _first(o: Operator) -> str | None:
    return next((key for key in ("self", "input") if o.has_tensor(key)), None)


def note(program: Program, o: Operator) -> None:
    """Note which values look at the same numbers, and put together those that have changed."""
    first = _first(o)
    if first is None:
        return
    name = o.tensor_name(first)
    if o.is_in_place:
        _write(program, o, name)
    elif o.name in VIEWS:
        program.view(name, o.outputs)
        part = _part(o, name)
        if part is not None and _depth(program, name) < _DEEPEST:
            program.parts[o.outputs[0]] = part


def _depth(program: Program, name: str) -> int:
    depth = 0
    while name in program.parts:
        name, depth = program.parts[name].of, depth + 1
    return depth


def _part(o: Operator, name: str) -> Part | None:
    """Return what a view looks at, or None where that is not told in numbers."""
    if o.name in _ALIASES:
        return Part(name)
    keys = {"select": ("index",), "slice": ("start", "end", "step")}.get(o.name)
    if keys is None or any("as_sym_int" in o.given.get(key, {}) for key in keys):
        return None
    axis = o.axis(default=0)
    size = o.program.shape(name)[axis]
    if o.name == "select":
        place = int(o.get("index"))
        if size is None and place < 0:
            return None
        place %= size or place + 1
        return Part(name, axis, place, place + 1, is_one=True)
    start, stop, step = (o.get(key) for key in keys)
    if not start and stop is None and step in (None, 1):
        return Part(name)
    if size is None or step not in (None, 1):
        return None
    first, last, _ = slice(start, stop).indices(size)
    return Part(name, axis, first, max(first, last))


def _write(program: Program, o: Operator, name: str) -> None:
    """Give what an operator wrote to what it wrote over, and to all of which that is a part."""
    if o.name in _TURNED:
        raise o.refuse("another order of axes for a value that is there already")
    made = _held(o, program.value(o.outputs[0]))
    changed = {o.outputs[0]: made}
    program.view(name, o.outputs)
    known = program.parts.get(name)
    program.parts[o.outputs[0]] = known if known and known.stop is None else Part(name)
    while True:
        changed[name] = made
        part = program.parts.get(name)
        if part is None:
            break
        if part.stop is not None:
            made = _put(o, program.value(part.of), part, made)
        name = part.of
    program.overwrite(name, o.called)
    program.renew(changed)


def _held(o: Operator, made: Value) -> Value:
    """Return what was computed, in the dtype of what it is written over."""
    others = [o.tensor(key).dtype for key in o.given if o.has_tensor(key)]
    widest = max(others, key=_WIDER.index)
    if o.name in RULES or (widest == made.dtype and o.name not in _TRUTHS):
        return made
    return o.between("convert", made, dtype=o.dtype)


def _put(o: Operator, whole: Value, part: Part, given: Value) -> Value:
    """Return a value with other numbers in a part."""
    size, before = whole.shape[part.axis], ((None, None, None),) * part.axis
    if part.is_one:
        shape = (*given.shape[: part.axis], 1, *given.shape[part.axis :])
        given = o.between("expand", given, shape=shape, axis=part.axis)
    joined = [given]
    if part.start:
        joined.insert(0, o.between("index", whole, cuts=(*before, (None, part.start, None))))
    if part.stop != size:
        joined.append(o.between("index", whole, cuts=(*before, (part.stop, None, None))))
    if len(joined) == 1:
        return given
    return o.between("concat", *joined, shape=whole.shape, axis=part.axis)


def _copy(o: Operator) -> None:
    """Write a value over another, of whose sizes and dtype it becomes."""
    x, given = o.tensor("self"), o.tensor("src")
    if given.dtype != x.dtype:
        given = o.between("convert", given, dtype=o.dtype)
    sizes = [o.program.described[o.tensor_name(key)]["sizes"] for key in ("self", "src")]
    if sizes[0] == sizes[1]:
        o.program.same(o.outputs[0], given)
    elif x.dtype == "bool":
        raise o.refuse("bools of other sizes")
    else:
        zeros = o.between("full_as", x, value=0, dtype=x.dtype)
        o.give("add", zeros, given)


def _fill(o: Operator) -> None:
    """Write a number over all of a value."""
    x = o.tensor("self")
    if o.has_tensor("value"):
        if x.dtype == "bool":
            raise o.refuse("bools")
        o.give("add", o.between("full_as", x, value=0, dtype=x.dtype), o.typed(o.tensor("value")))
        return
    value = number(o, "value", 0.0)
    if "float" not in x.dtype:
        value = bool(value) if x.dtype == "bool" else int(value)
    o.give("full_as", x, value=value, dtype=x.dtype)


def _masked(o: Operator) -> None:
    """Write a number wherever a mask says."""
    x, value, found = o.tensor("self"), o.tensor("values"), places(o)
    mask = found[0] if found and not any(found[1:]) else None
    if mask is None or mask.dtype != "bool" or value.rank or o.get("accumulate", False):
        raise o.refuse("anything but one mask and one number")
    while mask.rank < x.rank:
        mask = o.between("expand", mask, shape=(*mask.shape, 1), axis=mask.rank)
    o.give("where", mask, o.typed(value), x)


RULES: Mapping[str, Rule] = {"copy": _copy, "fill": _fill, "zero": _fill, "index_put": _masked}
