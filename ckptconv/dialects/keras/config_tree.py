"""The tree of a model's configuration: each object that may hold weights, and where they stand.

Only the configuration says what wraps what: ``Bidirectional`` has two halves with settings of their
own, ``StackedRNNCells`` a list of cells, a model its layers, each nested to any depth. Both layouts
name an object along its way down from the model: ``.weights.h5`` by attributes and classes
(``layers/bidirectional/forward_layer/cell``), the legacy one by names of layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ckptconv.dialects.keras.model_config import Entry
from ckptconv.errors import DialectError

COUNTER = re.compile(r"_\d+$")
Scope = tuple[str, ...]
_WRAPPERS = ("TimeDistributed", "SpectralNormalization")


@dataclass(frozen=True)
class Part:
    """One object of a configuration that may hold weights of its own.

    Attributes:
        entry: its class and settings.
        path: the names of the models and layers down to it, as the report has them.
        group: where ``.weights.h5`` keeps it.
        scopes: the names that the legacy layout may have for each object on the way, outermost
            first.
        around: the wrappers around it within its layer, outermost first.
        half: 0 forward, 1 backward, None where it is not half of a Bidirectional.
        place: (which cell it is, of how many) where a layer stacks several.
    """

    entry: Entry
    path: Scope = ()
    group: Scope = ()
    scopes: tuple[tuple[str, ...], ...] = ()
    around: tuple[Entry, ...] = ()
    half: int | None = None
    place: tuple[int, int] = (0, 1)

    @property
    def name(self) -> str:
        """The name of the layer that it is, or that it is in."""
        return (self.around or (self.entry,))[0].name

    @property
    def depth(self) -> int:
        return len(self.scopes)

    def wrapper(self, class_name: str) -> Entry | None:
        """Return the wrapper of this class around the object."""
        return next((w for w in self.around if w.class_name == class_name), None)

    @property
    def is_stacked(self) -> bool:
        return self.wrapper("StackedRNNCells") is not None


def parts(model: Entry, groups: Iterable[Scope] = ()) -> list[Part]:
    """Return the objects of a model in its order.

    Args:
        groups: those of a ``.weights.h5``, whose counters are matched with the layers.

    Raises:
        DialectError: the groups of a class are more than its layers.
    """
    return list(_of_model(Part(model), sorted({*groups})))


def _of_model(model: Part, groups: list[Scope]) -> Iterator[Part]:
    base = model.group
    below = [scope for scope in groups if scope[: len(base)] == base]
    if any(scope[len(base) : len(base) + 1] == ("layers",) for scope in below) or not below:
        base = (*base, "layers")
    heads = list(dict.fromkeys(scope[len(base)] for scope in below if len(scope) > len(base)))
    layers = model.entry.layers()
    for layer, head in zip(layers, _heads(layers, heads, base), strict=True):
        yield from _of_layer(
            replace(
                model,
                entry=layer,
                path=(*model.path, layer.name or head),
                group=(*base, head),
                scopes=(*model.scopes, (layer.name,)),
                around=(),
                half=None,
            ),
            groups,
        )


def _of_layer(part: Part, groups: list[Scope]) -> Iterator[Part]:
    """Yield a layer, or what it wraps."""
    entry = part.entry
    if entry.is_model:
        yield from _of_model(part, groups)
    elif entry.class_name == "Bidirectional":
        for half, inner in enumerate(_halves(entry)):
            side = ("forward", "backward")[half]
            names = (inner.name, f"{side}_{inner.name}")
            yield from _of_layer(_below(part, inner, f"{side}_layer", names, half=half), groups)
    elif entry.class_name == "StackedRNNCells":
        cells = entry.cells()
        counted = _heads(cells, [], ())
        for i, (cell, group) in enumerate(zip(cells, counted, strict=True)):
            made = _below(part, cell, "cells", (cell.name,))
            path, place = (*part.path, cell.name), (i, len(cells))
            yield replace(made, group=(*made.group, group), path=path, place=place)
    elif entry.class_name == "RNN" and (held := entry.inner("cell")):
        yield from _of_layer(_below(part, held, "cell", (held.name,)), groups)
    elif entry.class_name in _WRAPPERS and (layer := entry.inner("layer")):
        yield from [part] if entry.class_name != "TimeDistributed" else []
        yield from _of_layer(_below(part, layer, "layer", (layer.name,)), groups)
    else:
        yield part


def _halves(entry: Entry) -> list[Entry]:
    """Return both halves; older files say nothing of the backward one where it is a copy."""
    forward, backward = entry.inner("layer"), entry.inner("backward_layer")
    if forward is None:
        raise DialectError("a Bidirectional around nothing", tensor=entry.name or None)
    turned = {**forward.config, "go_backwards": not forward.config.get("go_backwards", False)}
    return [forward, backward or replace(forward, config=turned)]


def _below(
    part: Part, entry: Entry, attribute: str, names: tuple[str, ...], *, half: int | None = None
) -> Part:
    half = part.half if half is None else half
    stacked = half is not None and entry.class_name == "StackedRNNCells"
    path = (*part.path, f"{('forward', 'backward')[half or 0]}_layer") if stacked else part.path
    return replace(
        part,
        entry=entry,
        path=path,
        group=(*part.group, attribute),
        scopes=(*part.scopes, names),
        around=(*part.around, part.entry),
        half=half,
    )


def _heads(layers: list[Entry], present: list[str], base: Scope) -> list[str]:
    """Return the group of each layer: its class with a counter.

    A file that has as many groups of a class as the model has layers of it may count otherwise.
    """
    queues: dict[str, list[str]] = {}
    for head in sorted(present, key=lambda head: (len(head), head)):
        queues.setdefault(COUNTER.sub("", head), []).append(head)
    counted: dict[str, list[str]] = {}
    for layer in layers:
        known = counted.setdefault(layer.snake, [])
        known.append(f"{layer.snake}_{len(known)}" if known else layer.snake)
    for snake, names in counted.items():
        queue = queues.get(snake, [])
        if len(queue) > len(names):
            raise DialectError(
                "the weights do not fit the file's configuration",
                tensor="/".join((*base, queue[-1])),
                expected=f"{len(names)} layers of the class {snake}",
                found=len(queue),
            )
        if len(queue) == len(names):
            names[:] = queue
    return [counted[layer.snake].pop(0) for layer in layers]
