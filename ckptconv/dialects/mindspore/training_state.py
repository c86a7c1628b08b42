"""What a MindSpore training checkpoint holds beside the network's parameters.

Nothing is taken for training state by its name alone. An optimizer is proven by two things at one
place in the file: its step counter, and parameters that mirror the network's, name for name and
shape for shape, under every prefix that this optimizer has (``mindspore.nn``, ``mint.optim`` and
``experimental.optim`` of MindSpore 2.10: ``moment1.fc.weight`` and ``moment2.fc.weight`` beside
``fc.weight``). An optimizer that this table does not know must have the step counter and the
learning rate of the base class, and mirror all of the network.

The mirrors tell one thing more: what the network itself calls its parameters. An optimizer inside
a Cell takes the parameters that it trains under its own name (``optimizer.fc.weight``), and a
training Cell puts its attribute before all names (``net.fc.weight``), while the state keeps the
name that the optimizer was given.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from ckptconv.dialects.mindspore.named_shapes import NamedShapes, Shape
from ckptconv.dialects.mindspore.optimizers import OPTIMIZERS, Optimizer, shapes_of
from ckptconv.dialects.mindspore.own_names import Found, copies, own_names, rename_note
from ckptconv.spelling import option
from ckptconv.tensors.tensor import Tensor


@dataclass(frozen=True)
class TrainingState:
    """What was recognised: name → rule; name → the network's own name for it; remarks."""

    omitted: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def network(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what is the network's, under its own names."""
        kept = ((name, tensor) for name, tensor in tensors.items() if name not in self.omitted)
        return {self.renamed.get(name, name): tensor for name, tensor in kept}


_ONE: tuple[Shape, ...] = ((), (1,))
_COUNTERS: Mapping[str, list[tuple[Shape, str]]] = {
    # the step counter of nn, mint.optim and experimental.optim → its shape and dtype
    "global_step": [((1,), "int32")],
    "state_step": [((1,), "float32"), ((), "int32")],
    "step_t": [((), "int32")],
}
_RATE = re.compile(r"(opt\.)?(learning_rate(_group_\d+)?\.)?learning_rate(_group_\d+)?")
_BASE = re.compile(r"global_step|state_step|step_t|fake_lr|fake_param|Parameter\$\d+")
_CALLBACKS = (
    "epoch_num",
    "step_num",
    "scale_sense",
    "current_iterator_step",
    "last_overflow_iterator_step",
)
"""What loss scaling and ModelCheckpoint add."""
_APPENDED = "as a network may have such numbers, and save_checkpoint's append_dict too"
_TRIED = 16
_MOST_SCOPES = 64
_MOST_ENDS = 1024


def training_state(tensors: Mapping[str, Tensor]) -> TrainingState:
    """Tell what training needs and inference does not, and the network's own names."""
    shapes, scopes = NamedShapes(tensors), _scopes(tensors)
    found = [f for scope in scopes if (f := _optimizer(*scope, shapes)) is not None]
    omitted: dict[str, str] = {}
    for optimizer in found:
        omitted |= _state(optimizer, shapes)
    if found:
        rule = "training state: of the training loop"
        places = {"", *(f.scope for f in found)}
        omitted |= {s + n: rule for s in places for n in _CALLBACKS if shapes.get(s + n) in _ONE}
    kept = [name for name in shapes if name not in omitted]
    renamed = own_names(kept, found)
    notes = [rename_note(f) for f in found if any(f.wrapper + t in renamed for t in f.trained)]
    counters = {scope + leaf for scope, leaf in scopes}
    omitted = {name: omitted[name] for name in shapes if name in omitted}
    notes += copies(shapes, kept, renamed)
    trained = {f.wrapper + own for f in found for own in f.trained}
    notes += _unproven(kept, tensors, counters, trained)
    return TrainingState(omitted, renamed, tuple(notes))


def _scopes(tensors: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    """Return each step counter and what stands before it: where an optimizer may be."""
    scopes = []
    for name, tensor in tensors.items():
        leaf = name.rpartition(".")[2]
        if leaf in _COUNTERS and (tensor.shape, tensor.dtype.name) in _COUNTERS[leaf]:
            scopes.append((name[: -len(leaf)], leaf))
    return scopes[:_MOST_SCOPES]


def _optimizer(scope: str, counter: str, shapes: NamedShapes) -> Found | None:
    """Return the optimizer whose mirrors explain most of the parameters at this place."""
    rows = [row for row in OPTIMIZERS if counter in row.counters]
    fitting = [f for row in rows if (f := _fit(row, scope, shapes)) is not None]
    if fitting:  # where several explain as much, what needs no wrapper assumes least
        return max(
            fitting,
            key=lambda f: (len(f.trained) * len(f.optimizer.slots), f.wrapper in ("", scope)),
        )
    own = [name[len(scope) :] for name in shapes.starting(scope)]
    if not any(map(_RATE.fullmatch, own)):
        return None
    # Each mirrors all of the network, so that no part of the network itself has more names.
    unknown = Counter(name.partition(".")[0] for name in own).most_common(_TRIED)
    rows = [Optimizer("an unknown optimizer", (f"{slot}.",)) for slot, _ in sorted(unknown)]
    fits = [f for row in rows if (f := _fit(row, scope, shapes)) and f.wrapper in ("", scope)]
    whole = [f for f in fits if _is_whole(f, shapes)]
    slots = tuple(slot for f in whole for slot in f.optimizer.slots)
    return _fit(Optimizer("an unknown optimizer", slots), scope, shapes) if slots else None


def _fit(row: Optimizer, scope: str, shapes: NamedShapes) -> Found | None:
    """Find what stands before the network's own names so that most of them are mirrored."""
    first = scope + row.slots[0]
    mirrored = [name[len(first) :] for name in shapes.starting(first)]
    best = Found(row, scope, "", frozenset())
    common = Counter(_wrappers(mirrored[:_TRIED], shapes, best.mirrors)).most_common(_TRIED)
    wrappers = dict.fromkeys(["", scope, *(wrapper for wrapper, _ in common)])
    for wrapper in wrappers if mirrored else ():
        trained = frozenset(
            own for own in mirrored if _is_mirrored(wrapper + own, own, row, scope, shapes)
        )
        if len(trained) > len(best.trained):
            best = Found(row, scope, wrapper, trained)
    return best if best.trained else None


def _wrappers(owns: Iterable[str], shapes: NamedShapes, mirrors: list[str]) -> Iterator[str]:
    for own in owns:
        for name in islice(shapes.ending(f".{own}"), _MOST_ENDS):
            if not name.startswith(tuple(mirrors)):
                yield name[: -len(own)]


def _is_mirrored(
    name: str, own: str, row: Optimizer, scope: str, shapes: Mapping[str, Shape]
) -> bool:
    shape = shapes.get(name)
    if shape is None:
        return False
    allowed = {slot: shapes_of(slot, shape) for slot in row.slots}
    return all(shapes.get(scope + slot + own) in fitting for slot, fitting in allowed.items())


def _is_whole(found: Found, shapes: Mapping[str, Shape]) -> bool:
    """Tell whether all parameters but single numbers are mirrored or mirrors."""
    names = {found.wrapper + own for own in found.trained}
    mirrors = {mirror + own for mirror in found.mirrors for own in found.trained}
    return all(n in names or n in mirrors or shape in _ONE for n, shape in shapes.items())


def _state(found: Found, shapes: Mapping[str, Shape]) -> dict[str, str]:
    trained = {found.wrapper + own for own in found.trained}
    rule = f"training state: {found.optimizer.about} mirrors"
    state = {
        mirror + own: f"{rule} {found.wrapper + own}"
        for mirror in found.mirrors
        for own in found.trained
        if mirror + own in shapes and mirror + own not in trained
    }
    for name, shape in shapes.items():
        own = name[len(found.scope) :]
        if not name.startswith(found.scope) or name in trained:
            continue
        known = own in found.optimizer.scalars or _BASE.fullmatch(own)
        rates = _RATE.fullmatch(own) and len(shape) <= 1
        if rates or (known and shape in _ONE):
            state[name] = f"training state: a number of {found.optimizer.about}"
    return state


def _unproven(
    kept: list[str], tensors: Mapping[str, Tensor], counters: set[str], trained: set[str]
) -> list[str]:
    """Say what looks like training state and stays, since nothing proves that it is."""
    names = NamedShapes({name: tensors[name] for name in kept})
    notes = [
        f"{' and '.join(row.slots)} mirror other parameters as {row.about} does, but there is no "
        "step counter: kept"
        for row in OPTIMIZERS
        if len(row.slots) > 1 and (found := _fit(row, "", names)) and not found.wrapper
    ]
    known = {*_CALLBACKS, *counters}
    lonely = [n for n in names if n in known or _BASE.fullmatch(n) or _RATE.fullmatch(n)]
    single = [n for n, shape in names.items() if shape == () and "." not in n and n not in trained]
    numbers = [*dict.fromkeys([*lonely, *single])]
    if numbers:
        why = "since no optimizer's state is in the file" if lonely else _APPENDED
        notes.append(
            f"{', '.join(numbers)}: kept, {why}; {option('drop', numbers)} leaves them out"
        )
    return notes
