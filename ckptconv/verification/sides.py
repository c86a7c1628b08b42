"""The two sides of a comparison, read with options of their own so that they can meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, get_type_hints

from ckptconv import formats, pipeline
from ckptconv.checkpoint import Checkpoint
from ckptconv.dialects.torch.constants import with_constants
from ckptconv.errors import AmbiguousKindError, DialectError, UsageError, locating
from ckptconv.graph.attention import LAST, in_steps
from ckptconv.graph.graph import Framework, Graph, RecurrentLayer
from ckptconv.graph.kinds import PARAMETER
from ckptconv.options import (
    FlatLayout,
    Fuses,
    Pairs,
    ReadKeywords,
    ReadOptions,
    StrPath,
    choice,
    stubs_of,
)
from ckptconv.options.values import texts
from ckptconv.passes.edit import drop
from ckptconv.spelling import option, second_file

_PREFIX, _DEFAULT_DEVICE = "target_", "CPU"


class SidesKeywords(ReadKeywords, total=False):
    """The options of ``load`` for a first file and, with a prefix, for a second one."""

    target_source: Framework | None
    target_select: str | None
    target_kinds: Pairs
    target_rename: Pairs
    target_map: StrPath | Mapping[str, str] | None
    target_fuse: Fuses
    target_split: Iterable[str]
    target_gates: str | None
    target_forget_bias: float
    target_z_convention: bool
    target_flat_layout: FlatLayout | None
    target_allow: Iterable[str]
    target_restore: StrPath | None
    target_config: StrPath | None


def sides(call: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate the options of the first file from those of the second.

    Raises:
        TypeError: an option that reading does not take.
    """
    for name in given:
        if name not in get_type_hints(SidesKeywords):
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}")
    target = {n.removeprefix(_PREFIX): v for n, v in given.items() if n.startswith(_PREFIX)}
    return {n: v for n, v in given.items() if not n.startswith(_PREFIX)}, target


def limit(name: str, value: float | None) -> None:
    """Hold an option against what a difference may be.

    Raises:
        UsageError: negative, or no number; nothing would differ by more than an infinite one.
    """
    if value is not None and not 0 <= value < math.inf:
        raise UsageError(option(name, value), expected="a number that is not negative")


def whole(name: str, value: int) -> None:
    """Hold an option against what counts.

    Raises:
        UsageError: negative, or no whole number.
    """
    if not isinstance(value, int) or value < 0:
        raise UsageError(option(name, value), expected="a whole number that is not negative")


def on_device(device: str, *, runs: bool, otherwise: str) -> None:
    """Hold the device that MindSpore runs on against whether anything runs.

    Raises:
        UsageError: no device, or one for nothing; ``otherwise`` says what would run there.
    """
    choice("device", device)
    if device != _DEFAULT_DEVICE and not runs:
        raise UsageError(f"{option('device', device)}: nothing runs there", expected=otherwise)


def on_network(network: StrPath | None, stubs: Iterable[str], *, runs: bool) -> tuple[str, ...]:
    """Hold a written network against whether anything runs; return what it leaves to a person.

    Raises:
        UsageError: nothing runs, or there is no network.
    """
    if network is not None and not runs:
        problem = f"{option('network')} is a program, which is run only if asked to"
        raise UsageError(problem, expected=option("run", True))
    return stubs_of(network, stubs)


def read_target(path: StrPath, options: Mapping[str, Any]) -> Checkpoint:
    """Open the second of two files; see ``formats.read``."""
    with second_file(_PREFIX):
        return formats.read(path, select=options.get("select"))


def lift_target(
    target: Checkpoint, source: Graph, options: Mapping[str, Any]
) -> tuple[Graph, Graph]:
    """Lift the second of two files; what it leaves open is read as the first one's kind, and an
    attention that the first has in steps is taken apart.

    The kind decides names and axes only: were it wrong, values would not be equal.

    Args:
        options: of ``ReadOptions``, by name.

    Returns:
        The first graph, with those constants of its program that the second file has among its
        weights, as a written network does; and the second.

    Raises:
        AmbiguousKindError: the first file has no layer of that path either.
    """
    source = with_constants(source, target.tensors)
    said = {layer.path: layer.kind for layer in source if not isinstance(layer, RecurrentLayer)}
    said = {path.replace(".", "_"): kind for path, kind in said.items()} | said  # as Keras has it
    known = {**_bare(source, target), **dict(options.get("kinds") or ())}
    graph, known = _lifted(target, {**options, "kinds": known}, said)
    if whole := _whole(said, graph, known):
        with suppress(DialectError):
            graph, _ = _lifted(target, {**options, "kinds": {**known, **whole}}, said)
    return source, graph


def _lifted(
    target: Checkpoint, options: Mapping[str, Any], said: Mapping[str, str]
) -> tuple[Graph, dict[str, str]]:
    """Return the graph, and the kinds that it was read with."""
    known = dict(options["kinds"])
    while True:
        try:
            with second_file(_PREFIX):
                reading = ReadOptions(**{**options, "kinds": known})
                graph = pipeline.lift(target, reading)
                reading.allow.check()
                apart = in_steps(graph, lambda layer: layer.full_name(LAST) in said)
                return replace(graph, layers=tuple(apart)), known
        except AmbiguousKindError as error:  # noqa: PERF203
            choices = {_owner(path, said): kinds for path, kinds in error.choices.items()}
            new = {p: _closest(said[p], kinds) for p, kinds in choices.items() if p in said}
            if new.keys() <= known.keys():
                raise
            known = new | known


def _owner(path: str, said: Mapping[str, str]) -> str:
    """Return a module, or the BatchNorm3d of which it is the inside in MindSpore."""
    above = path.rpartition(".")[0]
    return above if path not in said and said.get(above) == "BatchNorm3d" else path


def _whole(said: Mapping[str, str], graph: Graph, known: Mapping[str, str]) -> dict[str, str]:
    """Return the modules that were read as bare parameters where the first file has a layer."""
    bare = {layer.path.rpartition(".")[0] for layer in graph if layer.kind == PARAMETER}
    found = {path: said[path] for path in bare - known.keys() if path in said}
    return {path: kind for path, kind in found.items() if kind != PARAMETER}


def without(
    source: Graph, target: Graph, of_source: Iterable[str], of_target: Iterable[str]
) -> tuple[Graph, Graph]:
    """Leave out what only one side has, by name.

    Raises:
        DialectError: no such module or parameter.
        UsageError: no list of texts.
    """
    with locating(source.origin.path):
        left = drop(source, texts("drop", of_source))
    with locating(target.origin.path), second_file(_PREFIX):
        return left, drop(target, texts("target_drop", of_target))


def _bare(source: Graph, target: Checkpoint) -> dict[str, str]:
    """Return the modules of a file whose parameters the other has as they are, of no known layer,
    whatever layer their names would make them; but for an attention that it has in steps."""
    layers = {layer.path for layer in source if layer.kind != PARAMETER}
    layers |= {path.removesuffix(f".{LAST}") for path in layers}
    own = [layer.path.rpartition(".") for layer in source if layer.kind == PARAMETER]
    bare = {path for path, _, _ in own} - layers
    groups = {(path or leaf).replace(".", "_") for path, _, leaf in own if path not in layers}
    groups -= {path.replace(".", "_") for path in layers}  # as Keras calls a module
    slashed = {name for name in target.tensors if "/" in name}
    held = {name.rpartition(".")[0] for name in target.tensors.keys() - slashed}
    held |= {name.rpartition(".")[0] for name in slashed} - {""}
    named = {name.partition("/")[0] for name in slashed}
    return dict.fromkeys([*sorted(held & bare), *sorted(named & groups)], PARAMETER)


def _closest(kind: str, fitting: Sequence[str]) -> str:
    """Return a kind, the same without a part, or the one of its rank that is not told from it."""
    alike = [other for other in fitting if other.partition("(")[0] == kind]
    of_rank = [other for other in fitting if other[-2:] == kind[-2:]]
    return next(iter(alike or of_rank), kind)
