"""Exported programs of one aten operator each, with any arguments that its schema allows.

A value comes from an input, or the module holds it: as a buffer, as one that no state_dict has, or
as an attribute. What is changed in place is a part of another value, or the value itself.
"""

from __future__ import annotations

import zlib
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from torch import nn

from ckptconv.dialects.torch.network.operators import GROUPS
from tests.differential.exported import attempt
from tests.differential.networks import TARGETS
from tests.differential.outcome import Case, Generator, Outcome
from tests.networks import fill

_SHAPES = ((3, 4), (2, 3, 4), (2, 3, 4), (2, 3, 4, 4), (4, 1), (1, 4, 4), (4, 4), (1, 1))
_DTYPES = ("float32", "float32", "float32", "int64", "int32", "bool")
_HELD_DTYPES = (*_DTYPES, "float64")
_HELD = ("buffer", "passing", "attribute")
_PLACES = ("index", "indices")
_CONDITIONS = ("mask", "condition", "attn_mask")
_WORDS = {
    "approximate": ("none", "tanh"),
    "rounding_mode": ("floor", "trunc"),
    "mode": ("constant", "reflect", "replicate", "circular"),
    "equation": ("abc,abd->acd", "ij,jk->ik", "...ij->...ji", "abc,acd->abd", "ij->j", "ij,kj->ik"),
}
_REGIONS = {
    "": nullcontext,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", enabled=False),
}
_SIZES = ((2, -1), (2, 12), (2, 4, 3), (-1, 4), (4, 3, 2), (2, 3, 2, 2), (2, 2, 3, 4), (3, -1))
_UNTOLD = {"device", "layout", "pin_memory", "memory_format", "generator", "non_blocking", "copy"}


class Drawn(NamedTuple):
    """An overload with its arguments; a value is (which, its dtype).

    Attributes:
        region: around its call.
        parted: what is changed in place is a part of another value.
    """

    operator: str
    overload: str
    arguments: dict[str, Any]
    shape: tuple[int, ...]
    other: tuple[int, ...]
    target: str
    region: str
    parted: bool

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value}" for key, value in self.arguments.items())
        called = f"{self.region} {self.operator}.{self.overload}({given})".lstrip()
        called += ", of a part" * (self.parted and self.operator.endswith("_"))
        return f"{called} of {self.shape} and {self.other}, to {self.target}"


class _Taken(NamedTuple):
    """An argument that is a value: the first, the second or the third, in a dtype.

    Attributes:
        rank: its axes, if it has others than the value.
        held: what the module holds it as; ``""``: it is made of the inputs.
    """

    place: int
    dtype: str
    rank: int | None = None
    held: str = ""


@lru_cache
def _overloads() -> list[tuple[str, str]]:
    known = {name for group, rules in GROUPS.items() if group != "layers" for name in rules}
    known |= {f"{name}_" for name in known}  # in place
    packets = [(name, getattr(torch.ops.aten, name, None)) for name in sorted(known)]
    found = [(name, o) for name, p in packets if p is not None for o in p.overloads()]
    return [(name, o) for name, o in found if _values(name, o) and "out" not in o]


def _values(name: str, overload: str) -> list[str]:
    """Return the types of an overload's arguments that are values of the network."""
    schema = getattr(getattr(torch.ops.aten, name), overload)._schema
    return [kind for argument in schema.arguments if "Tensor" in (kind := str(argument.type))]


def _draw(seed: str) -> Drawn:
    rng = Random(f"{seed}:operators")
    name = rng.choice(sorted({name for name, _ in _overloads()}))
    overload = rng.choice([o for n, o in _overloads() if n == name])
    schema = getattr(getattr(torch.ops.aten, name), overload)._schema
    shape = rng.choice(_SHAPES)
    other = rng.choice((shape, shape, rng.choice(_SHAPES)))
    arguments = {}
    for place, argument in enumerate(schema.arguments):
        told = argument.has_default_value() and rng.random() < 0.5
        if argument.name in _UNTOLD or told:
            continue
        kind = str(argument.type)
        arguments[argument.name] = _argument(rng, argument.name, kind, len(shape), place)
    target, region = rng.choice([*TARGETS]), rng.choice(("", "", "", "no_grad", "autocast"))
    return Drawn(name, overload, arguments, shape, other, target, region, rng.random() < 0.6)


def _argument(rng: Random, name: str, kind: str, rank: int, place: int) -> Any:
    """Return what an argument of this name and type could be, for a value of ``rank`` axes."""
    if "dtype" in name:
        return rng.choice((None, torch.float32, torch.int64, torch.int32, torch.bool))
    if kind.startswith("Optional") and rng.random() < 0.3:
        return None
    if "List[Tensor]" in kind or "List[Optional[Tensor]]" in kind:
        row = [_taken(rng, name, 0), _taken(rng, name, 1)]
        return row[: rng.randint(1, 2)]
    if "Tensor" in kind:
        return _taken(rng, name, min(place, 2))
    if "List[int]" in kind:
        if "size" in name or name == "shape":
            return rng.choice(_SIZES)
        length = rng.choice((0, 1, 1, 2, rank))
        low = -rank if name.startswith("dim") else 0
        return [rng.randint(low, max(rank - 1, 2)) for _ in range(length)]
    if "bool" in kind:
        return rng.random() < 0.5
    if "int" in kind:
        return rng.randint(-rank, rank)
    if "str" in kind:
        return rng.choice(_WORDS.get(name, ("none",)))
    return rng.choice((2, 0.5, -1, 1.0, -0.3, 0, 3))


def _taken(rng: Random, name: str, place: int) -> _Taken:
    rank = rng.choice((None, None, None, None, 0, 1))
    held = rng.choice(_HELD) if rng.random() < 0.3 else ""
    if name in _PLACES:
        return _Taken(place, "places", rank, held)
    dtype = rng.choice(_HELD_DTYPES if held else _DTYPES)
    return _Taken(place, "bool" if name in _CONDITIONS else dtype, rank, held)


class _Model(nn.Module):
    def __init__(self, drawn: Drawn) -> None:
        super().__init__()
        self.drawn = drawn
        self.fc = nn.Linear(drawn.shape[-1], drawn.shape[-1])

    def forward(self, x: Any, y: Any) -> Any:
        drawn = self.drawn
        operator = getattr(getattr(torch.ops.aten, drawn.operator), drawn.overload)
        values = self.fc(x) * 2, y, y * 0.5
        given = {key: self._put(value, values) for key, value in drawn.arguments.items()}
        changed, parted = given.get("self"), drawn.parted and drawn.operator.endswith("_")
        whole = torch.stack([changed, changed]) if parted and changed is not None else changed
        given |= {"self": whole[1]} if parted and changed is not None else {}
        with _REGIONS[drawn.region]():
            made = operator(**given)
            again = self.fc(x) * 1
        rest = [whole] if isinstance(whole, torch.Tensor) and drawn.operator.endswith("_") else []
        return made, again, *rest, self.fc(x)

    def _put(self, argument: Any, values: tuple[Any, ...]) -> Any:
        if isinstance(argument, list) and argument and isinstance(argument[0], _Taken):
            return [self._put(one, values) for one in argument]
        if not isinstance(argument, _Taken):
            return argument
        if argument.held:
            return getattr(self, _held_name(argument))
        return _turned(values[argument.place], argument)


def _turned(x: Any, taken: _Taken) -> Any:
    if taken.dtype in ("bool", "places"):
        found = x > 0 if taken.dtype == "bool" else (x > 0).long()
    else:
        found = (x * (1.5 if "float" in taken.dtype else 3)).to(getattr(torch, taken.dtype))
    rank = taken.rank
    return found if rank is None else found.flatten()[: 3 * rank or 1].view((-1,) * rank)


def _held_name(taken: _Taken) -> str:
    return "_".join(("held", *map(str, taken)))


def _holding(model: _Model) -> _Model:
    """Give a model the values that it holds."""
    drawn = model.drawn
    given = [one for v in drawn.arguments.values() for one in (v if type(v) is list else [v])]
    for taken in dict.fromkeys(one for one in given if isinstance(one, _Taken) and one.held):
        shape = drawn.other if taken.place == 1 else drawn.shape
        value, name = _turned(torch.randn(shape) * 1.3, taken), _held_name(taken)
        if taken.held == "attribute":
            setattr(model, name, value)
        else:
            model.register_buffer(name, value, persistent=taken.held == "buffer")
    return model


def _run(case: Case, tmp: Path) -> Outcome:
    torch.manual_seed(zlib.crc32(case.text.encode()))
    drawn: Drawn = case.data
    given = tuple(torch.randn(shape) * 1.3 for shape in (drawn.shape, drawn.other))
    make = lambda: _holding(fill(_Model(drawn)))  # noqa: E731
    return attempt(make, given, drawn.target, tmp, lambda _: drawn.operator)


GENERATOR = Generator(_draw, _run)
