"""What the network itself calls the parameters that stand in a training checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ckptconv.dialects.mindspore.named_shapes import Shape
from ckptconv.dialects.mindspore.optimizers import Optimizer
from ckptconv.spelling import option


@dataclass(frozen=True)
class Found:
    """An optimizer in a file: what stands before its own parameters, and before the network's."""

    optimizer: Optimizer
    scope: str
    wrapper: str
    trained: frozenset[str]  # as the optimizer calls them

    @property
    def mirrors(self) -> list[str]:
        slots = (*self.optimizer.slots, *self.optimizer.optional)
        return [self.scope + slot for slot in slots]


def own_names(kept: list[str], found: list[Found]) -> dict[str, str]:
    """Return the names that the optimizers' state gives to the parameters of the network."""
    renamed: dict[str, str] = {}
    for optimizer in found:
        prefix = optimizer.wrapper
        if prefix and prefix == optimizer.scope:
            renamed |= {prefix + own: own for own in optimizer.trained}
        elif prefix and all(name.startswith(prefix) for name in kept):
            renamed |= {name: name[len(prefix) :] for name in kept}
    renamed |= _torn(kept, renamed)
    return renamed if len({renamed.get(name, name) for name in kept}) == len(kept) else {}


def _torn(kept: list[str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Return the names of parameters that were not trained, whose modules' others were.

    What would get the name of another is a copy, an average of the network's parameters.
    """
    homes = {name.rpartition(".")[0] for name in renamed.values()} - {""}
    taken = {renamed.get(name, name) for name in kept}
    rest = [name for name in kept if name not in renamed]
    torn: dict[str, str] = {}
    for prefix in dict.fromkeys(prefix for name in rest if (prefix := _before(name, homes))):
        names = {n: n[len(prefix) :] for n in rest if n.startswith(prefix) and n not in torn}
        if not taken & {*names.values()}:
            torn |= names
            taken |= {*names.values()}
    return torn


def _before(name: str, homes: Collection[str]) -> str:
    """Return what stands before the path of a module in a name."""
    path = name.rpartition(".")[0]
    starts = (at + 1 for at, letter in enumerate(path) if letter == ".")
    return next((path[:at] for at in starts if path[at:] in homes), "")


def rename_note(found: Found) -> str:
    return (
        f"'{found.wrapper}' was taken off names: the state of {found.optimizer.about} calls these "
        "parameters without it"
    )


def copies(shapes: Mapping[str, Shape], kept: list[str], renamed: Mapping[str, str]) -> list[str]:
    """Say of a second copy of parameters, such as their average, that it stays.

    Where no optimizer's state names the network's own parameters, a copy is what repeats others by
    names and shapes under one prefix, and nothing else stands there.
    """
    own = {new: shapes[name] for name, new in renamed.items()}
    rest = [name for name in kept if name not in renamed]
    held = own or {name: shapes[name] for name in rest}
    under = Counter(name.partition(".")[0] for name in rest)
    found = Counter(name.partition(".")[0] for name in rest if _repeats(name, shapes[name], held))
    return [
        f"{count} parameters under '{first}.' have the names of others, as their average would: "
        f"kept; {option('drop', [first])} leaves them out"
        for first, count in found.items()
        if own or count == under[first]
    ]


def _repeats(name: str, shape: Shape, held: Mapping[str, Shape]) -> bool:
    cuts = (name[at + 1 :] for at, letter in enumerate(name) if letter == ".")
    return any(held.get(cut) == shape for cut in cuts)
