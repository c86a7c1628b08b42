"""What the report of a conversion tells of the file that it wrote."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ckptconv.codegen.arguments import is_possible
from ckptconv.dialects.evidence import REPORT, hint_of
from ckptconv.errors import CkptconvError, listed
from ckptconv.graph.graph import Home
from ckptconv.graph.hints import KindHint
from ckptconv.graph.kinds import KINDS, PARAMETER
from ckptconv.passes.gate_convention import AS_SAID
from ckptconv.passes.restore.places import layout_of
from ckptconv.passes.restore.renamed import group_of, is_numbered, layer_names
from ckptconv.tensors.computed import BOTH_BIASES
from ckptconv.tensors.tensor import Tensor

_UNDONE = re.compile(r"transpose.*|gates .*|reshape|join|two biases as rows|ones|zeros")
"""What reading a file back undoes; all else that a conversion computes stays."""
CAST = "cast "
_SHOWN = 6


class Told(NamedTuple):
    """What a report says of one target tensor: its layer, its sources, what was done to them.

    ``read_as`` is the layer's path in the source, ``is_constant`` says of a program's constant that
    no state_dict has it.
    """

    path: str
    read_as: str
    kind: str
    sources: tuple[str, ...]
    operations: tuple[str, ...]
    is_constant: bool = False


def parse(report: Mapping[str, Any]) -> dict[str, Told]:
    """Return what a report says of each target tensor.

    Raises:
        CkptconvError: not a report of a conversion.
    """
    try:
        return {
            str(tensor["target"]): Told(
                str(layer["path"]),
                str(layer.get("read_as", layer["path"])),
                str(layer["kind"]),
                tuple(map(str, tensor["sources"])),
                tuple(map(str, tensor["operations"])),
                layer.get("attributes", {}).get("persistent") is False,
            )
            for layer in report["layers"]
            for tensor in layer["tensors"]
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise not_a_report(error) from None


def not_a_report(error: Exception) -> CkptconvError:
    return CkptconvError(
        "not a report of a conversion",
        expected="the report as JSON",
        found=f"{type(error).__name__}: {error}"[:100],
    )


def kinds(report: Mapping[str, Any], said: Mapping[str, KindHint]) -> dict[str, KindHint]:
    """Return what the layers of the file are, by their paths there: the user's word first.

    Raises:
        CkptconvError: not a report of a conversion.
    """
    found: dict[str, KindHint] = {}
    try:
        keras = report["target"]["framework"] == "keras"
        for layer in report["layers"]:
            kind, names = str(layer["kind"]), [str(t["target"]) for t in layer["tensors"]]
            arguments = dict(_settings(kind, layer["attributes"]))
            if keras and kind.startswith("GRU"):
                arguments["reset_after"] = True  # another has no equal, and was refused
            for path in _paths(str(layer["path"]), kind, names):
                if kind != PARAMETER or path not in found:
                    found[path] = KindHint(kind, arguments, REPORT)
    except (KeyError, TypeError, AttributeError) as error:
        raise not_a_report(error) from None
    told = {path: hint for path, hint in found.items() if hint_of(said, path) is None}
    return {**said, **told}


def _settings(kind: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    row = KINDS.get(kind)
    for name, default in row.hyper.items() if row else ():
        value = attributes.get(name)
        if value is not None and is_possible(value, default, row.rank if row else 0):
            yield name, tuple(value) if isinstance(value, list) else value
    if kind == "PReLU" and "shared_axes" in attributes:
        shared = attributes["shared_axes"] or []
        if isinstance(shared, list):  # Keras's alone, which tell the rank of its slopes
            yield "shared_axes", shared


def _paths(path: str, kind: str, names: list[str]) -> Iterator[str]:
    """Yield a layer's path in the file, one for each level where those are layers."""
    below = f"{path}." if path else ""
    if any(map(is_numbered, names)):  # by classes: the layers' own names stand beside
        yield from layer_names(path, map(group_of, names)).values()
    elif any("/" in name for name in names):
        yield from dict.fromkeys(name.partition("/")[0] for name in names)
    elif kind == PARAMETER or not all(name.startswith(below) for name in names):
        above = zip(*(name.split(".")[:-1] for name in names), strict=False)
        yield ".".join(steps[0] for steps in itertools.takewhile(_are_one, above))
    else:
        yield path


def _are_one(steps: tuple[str, ...]) -> bool:
    return len(set(steps)) == 1


def home(report: Mapping[str, Any], told: Mapping[str, Told], restored: Iterable[str]) -> Home:
    """Return what the source of the conversion held, and of what of it the file has not.

    Args:
        restored: target tensors whose sums are undone.

    Raises:
        CkptconvError: not a report of a conversion.
    """
    try:
        reasons = {str(name): str(rule) for name, rule in report["omitted"].items()}
        said = {
            str(tensor["target"]): note
            for layer in report["layers"]
            for note in map(str, layer["notes"])
            if note.endswith(AS_SAID)
            for tensor in layer["tensors"]
        }
        framework = str(report["source"]["framework"])
        layout = layout_of(report) if framework == "keras" else None
        shapes = {str(n): _shape(value) for n, value in report.get("shapes", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise not_a_report(error) from None
    undone, places = {*restored}, dict[str, tuple[str, ...]]()
    for target, entry in ((t, e) for t, e in told.items() if not e.is_constant):
        left = [each for each in entry.operations if not _UNDONE.fullmatch(each)]
        left = [each for each in left if each != BOTH_BIASES or target not in undone]
        left += [said[target]] if target in said else []
        reasons |= dict.fromkeys(entry.sources, ", ".join(left))
        if all(each.startswith(CAST) for each in left):
            places[target] = entry.sources
    return Home(framework, reasons, places, layout, shapes)


def shapes(report: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return what a report says of target tensors' shapes.

    Raises:
        CkptconvError: not a report of a conversion.
    """
    try:
        return {
            str(tensor["target"]): _shape(tensor["shape"])
            for layer in report["layers"]
            for tensor in layer["tensors"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise not_a_report(error) from None


def _shape(value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(n) is int and n >= 0 for n in value):
        raise ValueError(f"{value!r} is no shape")
    return tuple(value)


def resized(report: Mapping[str, Any], held: Mapping[str, Tensor]) -> list[str]:
    """Say which tensors of a file cannot be those that were written: it was changed since, or the
    report is another file's."""
    told = shapes(report)
    names = [n for n, shape in told.items() if n in held and shape != held[n].shape]
    return [f"{listed(names, _SHOWN)}: not of the shape that the report has"] if names else []


def differences(home: Home, framework: str, names: Iterable[str]) -> list[str]:
    """Say what a file that comes home has not as the source had it."""
    if {"mint": "mindspore"}.get(framework, framework) != home.framework:
        return []
    names = list(names)
    there, before = set(map(_plain, names)), set(map(_plain, home.reasons))
    comparable = _are_numbered(names) == _are_numbered(home.reasons)
    found: dict[str, list[str]] = {}
    for name, reason in home.reasons.items():
        if comparable and _plain(name) not in there:
            reason = f"not there again: {reason}" if reason else "not there again"
        elif reason:
            reason = f"not undone: {reason}"
        if reason:
            found.setdefault(reason, []).append(name)
    if comparable and (new := [name for name in names if _plain(name) not in before]):
        found["not in the source of the conversion"] = new
    return [f"{listed(names, _SHOWN)}: {reason}" for reason, names in found.items()]


def _are_numbered(names: Iterable[str]) -> bool:
    return any(map(is_numbered, names))


def _plain(name: str) -> str:
    """Return a name without what versions of Keras put between a layer and its weight."""
    from ckptconv.passes.match.slashed import short

    return short(name, {}) if "/" in name else name
