"""Names on the command line: frameworks, and where a conversion goes by default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from ckptconv.dialects import DIALECTS
from ckptconv.errors import CkptconvError, exists_already, printable

if TYPE_CHECKING:
    from ckptconv.options import Target


def framework(option: str, name: str) -> Target:
    """Return a framework by its name; anything else is wrong usage."""
    if name not in DIALECTS:
        raise typer.BadParameter(f"{option} {printable(name)}: expected {', '.join(DIALECTS)}")
    return cast("Target", name)


def default_target(src: str, to: str) -> str:
    """Return a name beside the source, or beside the bundle that holds it; never the source's own.

    Raises:
        CkptconvError: a path without a name, such as ``.`` or nothing.
    """
    from ckptconv.formats import split_member, stem

    file, member = split_member(src)
    if not Path(file).name:
        raise CkptconvError("not a checkpoint", file=src, expected="the name of a file")
    name, suffix = stem(member or file), DIALECTS[to].suffix
    target = Path(file).with_name(name + suffix)
    return str(target if target != Path(file) else target.with_name(f"{name}.{to}{suffix}"))


def framework_of(dst: str) -> str:
    """Return the only framework whose files end so."""
    own: dict[str, str] = {".keras": "keras"}
    for row in DIALECTS.values():
        own.update(dict.fromkeys(row.suffixes, row.name) if row.short else {})
    found = {name for suffix, name in own.items() if dst.lower().endswith(suffix)}
    if len(found) != 1 or dst.lower().endswith(".safetensors"):
        raise typer.BadParameter(f"--to is needed: the suffix of {printable(dst)} does not tell")
    return found.pop()


def check_beside(path: str, what: str, src: str, dst: str, *, force: bool) -> None:
    """Refuse a report or map in the place of a checkpoint, or of a file without ``force``."""
    for other, side in ((src, "source"), (dst, "target")):
        if os.path.realpath(path) == os.path.realpath(other):
            raise CkptconvError(f"the {what} would overwrite the {side}", file=path)
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise CkptconvError("no such folder", file=folder)
    linked = os.path.exists(path) and os.path.exists(src) and os.path.samefile(path, src)
    if os.path.lexists(path) and (not force or linked):
        raise CkptconvError("exists already", file=path) if force else exists_already(path)
