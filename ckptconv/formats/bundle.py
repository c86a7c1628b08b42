"""gzip files and tar files that hold a checkpoint: ``model.tar.gz``, ``weights.pt.gz``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.deflate import gunzipped
from ckptconv.codecs.tar import is_tar, members
from ckptconv.errors import ContainerError, listed
from ckptconv.formats.registry import Format
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
        ContainerError: damaged, or none or several inside; the message names them. An index, whose
            shards would be looked for beside the bundle.
    """
    inside = _members(source)
    rows = {name: row for name, member in inside.items() if (row := _format(member))}
    found = [name for name, row in rows.items() if row.name != _NAME]
    for name in found:
        _require_whole(source, name, rows[name])
    if len(found) != 1:
        raise ContainerError(
            "several checkpoints inside" if found else "no checkpoint inside",
            file=source.path,
            expected="one",
            found=_listed(found or inside) or "nothing",
            hint=f"{os.path.basename(source.path)}:{found[0]}" if found else None,
        )
    (name,) = found
    checkpoint = formats.opened(rows[name], inside[name], select)
    return replace(checkpoint, notes=(*checkpoint.notes, f"read from {name!r} inside"))


def read_member(source: Source, name: str, select: str | None) -> Checkpoint:
    """Read one file of a bundle.

    Raises:
        ContainerError: not a bundle, no such file in it, or an index.
    """
    inside = _members(source) if sniff(source) else {}
    if name not in inside:
        there = _listed(inside) or "no tar or gzip file"
        raise ContainerError("no such member", file=source.path, expected=repr(name), found=there)
    row = formats.recognise(inside[name])
    _require_whole(source, name, row)
    return formats.opened(row, inside[name], select)


def _require_whole(source: Source, name: str, row: Format) -> None:
    """Refuse a file that names others: what stands beside the bundle is another model's."""
    if row.beside:
        raise ContainerError(
            f"{name!r} inside names other files", file=source.path, hint="unpacking it first"
        )


def _listed(names: Iterable[str]) -> str:
    return listed(map(repr, names), _MAX_LISTED)


def _members(source: Source) -> dict[str, Source]:
    if source.head(3) != _GZIP:
        return members(source)
    inner = gunzipped(source)
    row = _format(inner)
    if is_tar(inner) and (row is None or row.name == _NAME):
        return members(inner)
    return {os.path.basename(source.path).removesuffix(".gz"): inner}


def _format(source: Source) -> Format | None:
    try:
        return formats.recognise(source)
    except ContainerError:
        return None
