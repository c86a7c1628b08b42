"""gzip files and tar files that hold a checkpoint: ``model.tar.gz``, ``weights.pt.gz``."""

from __future__ import annotations

import os
from dataclasses import replace

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.deflate import gunzipped
from ckptconv.codecs.tar import is_tar, members
from ckptconv.errors import ContainerError
from ckptconv.io.reader import Source

_GZIP = b"\x1f\x8b\x08"
_NAME = "bundle"
_MAX_LISTED = 12


def sniff(source: Source) -> bool:
    """Tell whether the file is compressed by gzip, or a tar file."""
    return source.head(3) == _GZIP or is_tar(source)


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read the only checkpoint inside.

    Raises:
        ContainerError: damaged, or none or several inside; the message names them.
    """
    inside = _members(source)
    found = [name for name, member in inside.items() if _is_checkpoint(member)]
    if len(found) != 1:
        there = [repr(name) for name in found or inside]
        listed = ", ".join(there[:_MAX_LISTED]) + (", …" if len(there) > _MAX_LISTED else "")
        raise ContainerError(
            "several checkpoints inside" if found else "no checkpoint inside",
            file=source.path,
            expected="one",
            found=listed or "nothing",
            hint=f"{os.path.basename(source.path)}:{found[0]}" if found else None,
        )
    member = inside[found[0]]
    checkpoint = formats.recognise(member).load().read(member, select=select)
    notes = (*checkpoint.notes, f"read from {found[0]!r} inside")
    return replace(checkpoint, notes=notes, files=(source,))


def member(source: Source, name: str) -> Source:
    """Return one file of a bundle.

    Raises:
        ContainerError: not a bundle, or no such file in it.
    """
    inside = _members(source) if sniff(source) else {}
    if name not in inside:
        listed = ", ".join(map(repr, list(inside)[:_MAX_LISTED])) or "no tar or gzip file"
        raise ContainerError("no such member", file=source.path, expected=repr(name), found=listed)
    return inside[name]


def _members(source: Source) -> dict[str, Source]:
    if source.head(3) != _GZIP:
        return members(source)
    inner = gunzipped(source)
    if is_tar(inner) and not _is_checkpoint(inner):
        return members(inner)
    return {os.path.basename(source.path).removesuffix(".gz"): inner}


def _is_checkpoint(source: Source) -> bool:
    try:
        return formats.recognise(source).name != _NAME
    except ContainerError:
        return False
