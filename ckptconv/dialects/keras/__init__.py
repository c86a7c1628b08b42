"""Keras's weights, from every layout of Keras 1 to 3, and to the layouts that Keras loads.

Reading: ``config_tree`` walks the model's configuration, ``legacy_names`` and ``weights_h5_names``
group a file's names into the objects it finds there, ``config_scopes`` by parts of such names;
``sequence`` makes recurrent layers of them,
``attention`` and ``plain`` the others. Where a file has a configuration, it alone decides: the
class of an object (Keras's own, not any class of that name) and every setting. Where it has none,
shapes and the names of groups do, and all else is listed as assumed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.dialects.evidence import check_used, hint_of
from ckptconv.dialects.keras import theano
from ckptconv.dialects.keras.apart import counted, lift_apart
from ckptconv.dialects.keras.attention import is_attention, lift_attention
from ckptconv.dialects.keras.grouping import Group, Unit, dotted
from ckptconv.dialects.keras.joints import joints
from ckptconv.dialects.keras.layers import FORMS
from ckptconv.dialects.keras.legacy_names import legacy_units
from ckptconv.dialects.keras.lower import lower
from ckptconv.dialects.keras.model_config import Entry, entry
from ckptconv.dialects.keras.plain import lift_kept, lift_plain
from ckptconv.dialects.keras.recurrent import is_recurrent
from ckptconv.dialects.keras.sequence import lift_sequence
from ckptconv.dialects.keras.settings import by_network
from ckptconv.dialects.keras.surroundings import of_model, remarked
from ckptconv.dialects.keras.weights_h5_names import group_units
from ckptconv.errors import CkptconvError, DialectError, LossyError, gathering, listed
from ckptconv.graph.graph import Graph, Layer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.options import ReadOptions
from ckptconv.spelling import by_hand, option
from ckptconv.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ckptconv.graph.network import Network

__all__ = ["FORMS", "lift", "lift_with_network", "lower"]

_UNORDERED = "the file does not record the order of its layers; they stand by name here"


def lift_with_network(
    checkpoint: Checkpoint, options: ReadOptions, stubs: tuple[str, ...] = ()
) -> tuple[Graph, Network]:
    """Return the graph of a Keras file and its network, from its configuration.

    Raises:
        CkptconvError: as ``lift``, but no setting of a recurrent layer is refused; a file without
            configuration, or with a layer that no network can be written of.
    """
    from ckptconv.dialects.keras import network

    graph = lift(checkpoint, options, apart=True, stubs=stubs)
    facts = _facts(checkpoint)
    root = entry(facts.config)
    if root is None:
        raise DialectError(
            "the file does not record its network",
            expected="a model's configuration",
            hint=f"a file of model.save(), or {_configuration()}",
        )
    paths = [layer.path for layer in graph]
    return graph, network.read(root, facts.keras_version or None, paths, stubs, facts.backend)


def lift(
    checkpoint: Checkpoint,
    options: ReadOptions,
    *,
    apart: bool = False,
    stubs: tuple[str, ...] = (),
) -> Graph:
    """Return the graph of a Keras file.

    Args:
        apart: read layers for a network that is written too (``apart.lift_apart``).
        stubs: names of layers whose weights are kept as they are.

    Raises:
        DialectError: weights that do not fit their layer, or a layer that nothing tells.
        LossyError: a layer or option that neither torch nor MindSpore has, by its name.
    """
    facts = _facts(checkpoint)
    root = entry(facts.config)
    joined = joints(root)
    deep = any(tensor.ndim == 5 for tensor in checkpoint.tensors.values())
    groups: dict[str, Group] = {}
    for unit in _units(checkpoint.tensors, facts, root):
        groups.setdefault(unit.path, Group()).append(unit)
        if options.config is not None and root is not None:
            _check_described(unit, root)
    layers: list[Layer] = []
    with _advising(facts), gathering(groups.keys) as each:
        for group in groups.values():
            with each, _offering(group, options, apart=apart):
                if evidence := _kept(group, options, stubs):
                    layers += lift_kept(group, evidence)
                    continue
                rank = joined.ranks.get(group.part.path) if group.part else None
                made = (apart and lift_apart(group, options)) or _lift_group(
                    group, facts, options, deep=deep, rank=rank
                )
                if facts.backend == theano.NAME:
                    made = theano.correlating(made, group[0])
                layers += remarked(made, group[0], joined)
    check_used(options.kinds, groups)
    ordered = facts.config is not None or (facts.layout == "legacy" and facts.weights)
    return Graph(
        tuple(layers),
        "keras",
        replace(checkpoint, modules={}),
        omitted={**checkpoint.omitted, **(_counts(checkpoint, groups.values()) if apart else {})},
        notes=(
            *(*checkpoint.notes, *of_model(joined, apart=apart)),
            *(() if ordered else (_UNORDERED,)),
        ),
        feeds={**_stacks(groups), **{dotted(a): dotted(b) for a, b in joined.feeds.items()}},
    )


def _counts(checkpoint: Checkpoint, groups: Iterable[Group]) -> dict[str, str]:
    found = [tensor for group in groups if (tensor := counted(group)) is not None]
    names = [name for tensor in found for name in checkpoint.provenance.names(tensor)]
    return dict.fromkeys(names, "the count of adapt(), which no output depends on")


def _kept(group: Group, options: ReadOptions, stubs: tuple[str, ...]) -> str:
    """Return who says that these weights are to be kept as they are, if somebody does."""
    hint = hint_of(options.kinds, group.path)
    if hint is not None and hint.kind == PARAMETER:
        return hint.evidence
    parts = [unit.part for unit in group if unit.part]
    names = {entry.name for part in parts for entry in (*part.around, part.entry)}
    return "left to be written by hand" if {*group.path.split("."), *names} & {*stubs} else ""


@contextmanager
def _offering(group: Group, options: ReadOptions, *, apart: bool) -> Iterator[None]:
    """Say of a layer that no target has how its weights are converted nevertheless."""
    try:
        yield
    except (DialectError, LossyError) as error:
        if apart:
            name = group.part.name if group.part else group.path.rpartition(".")[2]
            error.hint = "; or ".join(filter(None, (error.hint, by_hand(name))))
        elif error.hint is None and isinstance(error, LossyError):
            keep = f"{option('kinds', {group.path: PARAMETER})}; it keeps its weights as they are"
            error.hint = by_network() if group.part and _is_written(group, options) else keep
        raise


def _is_written(group: Group, options: ReadOptions) -> bool:
    with suppress(CkptconvError):
        return bool(lift_apart(group, options))
    return False


@contextmanager
def _advising(facts: KerasFacts) -> Iterator[None]:
    """Say of weights that nothing explains what would: the configuration that the file lacks."""
    try:
        yield
    except DialectError as error:
        if facts.config is None:
            error.hint = "; or ".join(filter(None, (error.hint, _configuration())))
        raise


def _configuration() -> str:
    return f"{option('config', 'model.json')}; that is what model.to_json() gives"


def _check_described(unit: Unit, root: Entry) -> None:
    """Refuse a configuration that the user gave, of another model than the weights are."""
    if root.is_model and unit.part is None and unit.owner is None:
        raise DialectError(
            "the configuration has no layer for these weights",
            tensor=unit.first,
            expected=listed((layer.name for layer in root.layers()), 20) or "another one",
            found=unit.path,
            hint=f"{option('config', 'model.json')}; that is of the model whose weights these are",
        )


def _facts(checkpoint: Checkpoint) -> KerasFacts:
    """Return what the file says; of arrays in memory only the names tell the layout."""
    if isinstance(checkpoint.facts, KerasFacts):
        return checkpoint.facts
    numbered = all("/vars/" in f"/{name}" for name in checkpoint.tensors)
    return KerasFacts("weights.h5" if numbered else "legacy")


def _units(tensors: Mapping[str, Tensor], facts: KerasFacts, root: Entry | None) -> Iterator[Unit]:
    if facts.layout == "legacy":
        return legacy_units(tensors, facts, root)
    return group_units(tensors, facts, root)


def _lift_group(
    group: Group,
    facts: KerasFacts,
    options: ReadOptions,
    *,
    deep: bool,
    rank: int | None,
) -> list[Layer]:
    if any(map(is_recurrent, group)):
        return [lift_sequence(group, facts, options)]
    if is_attention(group):
        return [lift_attention(group)]
    if len(group) > 1 and group.entry is not None:
        names = " with ".join(dict.fromkeys(unit.entry.class_name for unit in group if unit.entry))
        raise LossyError(f"{names} has no equal in torch and MindSpore", tensor=group.path)
    if len(group) > 1:
        raise DialectError(
            "weights of several layers under one name",
            tensor=group.path,
            found=", ".join(unit.first for unit in group),
        )
    return lift_plain(group[0], options, deep=deep, rank=rank)


def _stacks(groups: Mapping[str, Group]) -> dict[str, str]:
    """Return path → path of the cells of StackedRNNCells, each of which feeds the next."""
    parts = [group.part for group in groups.values()]
    cells = [part for part in parts if part is not None and part.is_stacked]
    return {
        dotted(one.path): dotted(other.path)
        for one, other in itertools.pairwise(cells)
        if one.path[:-1] == other.path[:-1] and one.place[0] + 1 == other.place[0]
    }
