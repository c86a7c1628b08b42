"""What a column of the table of layers is made of: a kind's form in one framework.

A column maps every kind of ``ckptconv.graph.kinds`` to a ``Form``, or to None where the framework
has no such layer: then it is a layer of the user's own, with the canonical parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ckptconv.graph.gates import CANONICAL
from ckptconv.graph.kinds import KINDS, UNKNOWN, Family, Param, Unknown

_SAID = object()
Facts = dict[str, Any]
"""Arguments by torch's names, sizes by the axis letters, and whether there is each parameter."""


class Arg(NamedTuple):
    """A keyword argument.

    Attributes:
        fact: what it says, by torch's name; ``""`` where the framework calls it so too.
        default: the framework's own; an argument that is equal to it is not written.
    """

    fact: str = ""
    default: object = _SAID


class Has(Arg):
    """A keyword argument that says whether the layer has the parameter ``fact``."""


class Call:
    """A constructor.

    Attributes:
        name: the class.
        places: facts that are given by place; ``keywords``: by name.
        space: the module that the class stands in, as users write it; empty for a generated one.
    """

    def __init__(self, name: str, *places: str, **keywords: Arg | Unknown) -> None:
        self.name, self.places, self.keywords = name, places, keywords
        self.space = ""

    def within(self, space: str) -> Call:
        call = Call(self.name, *self.places, **self.keywords)
        call.space = space
        return call

    def arguments(self, facts: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return what is given by place and by name; ``UNKNOWN`` where nothing tells it."""
        named: dict[str, Any] = {}
        for keyword, arg in self.keywords.items():
            value = arg if isinstance(arg, Unknown) else facts[arg.fact or keyword]
            if isinstance(arg, Unknown) or arg.default is _SAID or arg.default != value:
                named[keyword] = value
        return [facts[fact] for fact in self.places], named

    def text(self, facts: Mapping[str, Any]) -> str:
        """Return the call as one expression, such as ``nn.Linear(4, 3, bias=False)``."""
        places, named = self.arguments(facts)
        said = [*map(repr, places), *(f"{name}={value!r}" for name, value in named.items())]
        return f"{self.space}.{self.name}({', '.join(said)})".lstrip(".")

    def build(self, space: Any, facts: Mapping[str, Any], **more: Any) -> Any:
        """Build the layer; what nothing tells is left to the framework, or 1 where it must be said.

        Args:
            space: the module of the framework that has the class.
            more: arguments beside those that the facts give.
        """
        places, named = self.arguments(facts)
        known = {name: value for name, value in named.items() if value is not UNKNOWN}
        given = [1 if value is UNKNOWN else value for value in places]
        return getattr(space, self.name)(*given, **{**known, **more})


class Slot(NamedTuple):
    """Where a parameter stands; what is not said is as in the canonical graph.

    Attributes:
        always: the layer has it whatever its options. Where the source has none, the fill value
            is written, which is what the layer computes without it.
        needed: as ``always``, but no value stands for it: a source without one is refused.
        also: names that the parameter had in other versions.
    """

    name: str = ""
    axes: str = ""
    always: bool = False
    needed: bool = False
    also: tuple[str, ...] = ()


class Note(NamedTuple):
    """What a user must know of every layer of a form, or of those that record one of ``values``.

    ``settings`` are said with it, where they are recorded: nothing else of the report has them.
    """

    text: str
    attribute: str = ""
    values: tuple[object, ...] = ()
    settings: tuple[str, ...] = ()


class Form(NamedTuple):
    """A kind in one framework.

    Attributes:
        slots: canonical parameter → where it stands, None where the layer has no such parameter.
        defaults: hyper-parameter → the framework's default, where it is not torch's.
        fixed: hyper-parameters that the framework's layers have without saying so.
        recorded: setting in a configuration of the framework → hyper-parameter.
        also: other classes whose weights are the same.
        gates: their order, where it is not the canonical one.
        before, after: layers that stand for an option that the layer lacks; they are there where
            all their facts are.
        pair: the class that holds a layer for each direction; then a layer has one level.
        first: per-axis hyper-parameter → the only value that it may have along the first axis.
        nearest: no layer of this kind, but of the same weights: never read as this kind.
    """

    call: Call
    slots: Mapping[str, Slot | None] = {}
    defaults: Mapping[str, object] = {}
    fixed: Mapping[str, object] = {}
    recorded: Mapping[str, str] = {}
    also: tuple[str, ...] = ()
    gates: str = ""
    before: Call | None = None
    after: Call | None = None
    pair: str = ""
    first: Mapping[str, int] = {}
    nearest: bool = False
    notes: tuple[Note, ...] = ()


Forms = Mapping[str, Form | None]


def within(space: str, forms: Mapping[str, Form | None]) -> Forms:
    """Return a column whose classes stand in a module."""
    return {
        kind: form
        and form._replace(
            call=form.call.within(space),
            before=form.before and form.before.within(space),
            after=form.after and form.after.within(space),
        )
        for kind, form in forms.items()
    }


def classes(forms: Forms) -> dict[str, tuple[str, ...]]:
    """Return class → the kinds that a framework calls so, but for what is only the nearest."""
    found: dict[str, tuple[str, ...]] = {}
    for kind, form in forms.items():
        if form is not None and not form.nearest:
            for name in (form.call.name, *form.also):
                found[name] = (*found.get(name, ()), kind)
    return found


def gate_order(forms: Forms, kind: str) -> str:
    """Return the order in which a framework stacks the gates of a recurrent kind."""
    form = forms.get(kind)
    return (form.gates if form else "") or CANONICAL[kind.removesuffix("Cell")]


def stored_by_row(kind: str) -> bool:
    """Tell whether each parameter of a kind stands alone, as rows of the table say it."""
    return kind in KINDS and KINDS[kind].family not in (Family.RECURRENT, Family.ATTENTION)


Slots = tuple[tuple[Param, Slot | None], ...]
_SLOTS: dict[tuple[str, int], tuple[Form | None, Slots]] = {}
"""Made once: a file of 20,000 layers asks for each of them. A form is kept, so its id stays its."""


def slots(kind: str, forms: Forms) -> Slots:
    """Return each canonical parameter with its complete slot."""
    form = forms.get(kind)
    key = kind, id(form)
    if key not in _SLOTS:
        _SLOTS[key] = form, tuple(_complete(kind, form))
    return _SLOTS[key][1]


def _complete(kind: str, form: Form | None) -> Iterator[tuple[Param, Slot | None]]:
    for param in KINDS[kind].params:
        slot = form.slots.get(param.name, Slot()) if form else Slot()
        yield (
            param,
            slot and slot._replace(name=slot.name or param.name, axes=slot.axes or param.axes),
        )
