"""Layers under names that no network of the target holds, since its module class uses these."""

from __future__ import annotations

from dataclasses import replace

from ckptconv.dialects import Dialect
from ckptconv.dialects.own_attributes import OWN
from ckptconv.errors import listed
from ckptconv.graph.lowered import Lowered
from ckptconv.spelling import option

_SHOWN = 4


def unheld(lowered: Lowered, target: Dialect) -> Lowered:
    """Say of such layers the way to other names; a file may be read without a network."""
    own, paths = OWN.get(target.name, frozenset()), dict[str, list[str]]()
    for made in lowered.made:
        for word in sorted(own.intersection(made.layer.path.split("."))):
            paths.setdefault(word, []).append(made.layer.path)
    notes = (
        f"{listed(found, _SHOWN)}: {target.title}'s modules have {word} of their own, so no "
        f"network holds layers by this name; {option('rename', _other(word))} gives them another"
        for word, found in paths.items()
    )
    return replace(lowered, notes=(*lowered.notes, *notes)) if paths else lowered


def _other(word: str) -> dict[str, str]:
    return {rf"(^|[.]){word}([.]|$)": rf"\1{word}_\2"}
