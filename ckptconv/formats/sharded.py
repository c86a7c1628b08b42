"""Hugging Face's sharded checkpoints: ``*.index.json`` maps each name to the file that holds it.

Source of the format: ``transformers``' ``model.safetensors.index.json`` and
``pytorch_model.bin.index.json``, objects with ``weight_map`` and ``metadata``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint, IndexFacts, Module
from ckptconv.codecs.json import parse
from ckptconv.errors import ContainerError, locating
from ckptconv.io.reader import File, Source
from ckptconv.tensors.tensor import Tensor

_MAX_INDEX, _MAX_SHARDS = 16 << 20, 4096
_NAME = "sharded-index"


def sniff(source: Source) -> bool:
    """Tell whether the file is a JSON object with a ``weight_map``."""
    head = source.head(1 << 16)
    return head.lstrip()[:1] == b"{" and b'"weight_map"' in head


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read the index and open every shard.

    Raises:
        ContainerError: a damaged index, a shard that is missing or not beside the index, or a name
            that its shard does not hold.
    """
    index = read_index(source)
    places = _places(source, index.get("weight_map"))
    shards = {file: _open(source, file, select) for file in dict.fromkeys(places.values())}
    tensors: dict[str, Tensor] = {}
    for name, file in places.items():
        if name not in shards[file].tensors:
            raise _error(source, f"{name!r} is not in its shard", file, "no such name there")
        tensors[name] = shards[file].tensors[name]
    modules: dict[str, Module] = {}
    omitted: dict[str, str] = {}
    for file, shard in shards.items():
        modules.update(shard.modules)
        omitted.update(shard.omitted)
        extra = [name for name in shard.tensors if name not in tensors]
        omitted.update(dict.fromkeys(extra, f"in {file}, but not in the index"))
    said = index.get("metadata")
    return Checkpoint(
        _NAME,
        tensors,
        modules,
        IndexFacts(said if isinstance(said, dict) else {}),
        omitted,
        tuple(f"{file}: {note}" for file, shard in shards.items() for note in shard.notes),
        (source, *(file for shard in shards.values() for file in shard.files)),
    )


def _places(source: Source, table: Any) -> dict[str, str]:
    """Return name → file name; a file must stand beside the index."""
    if not isinstance(table, dict) or not table:
        raise _error(source, "a damaged index", "a weight_map", "none")
    for file in table.values():
        if not is_bare(file):
            raise _error(source, "a shard outside the folder", "a bare file name", repr(file))
    if len(set(table.values())) > _MAX_SHARDS:
        raise _error(source, "too many shards", f"at most {_MAX_SHARDS}", len(set(table.values())))
    return table


def read_index(source: Source) -> dict[str, Any]:
    """Return an index as parsed JSON.

    Raises:
        ContainerError: too large, or no JSON object.
    """
    if source.size > _MAX_INDEX:
        raise _error(source, "the index is too large", f"at most {_MAX_INDEX} bytes", source.size)
    return parse(source.read(0, source.size), source.path, "the index")


def is_bare(file: object) -> bool:
    """Tell whether an index names a file beside itself, and no other place."""
    bare = isinstance(file, str) and file not in ("", ".", "..") and os.path.basename(file) == file
    return bare and {"\\", "\0"}.isdisjoint(str(file))


def _open(source: Source, file: str, select: str | None) -> Checkpoint:
    path = os.path.join(os.path.dirname(source.path), file)
    if not os.path.exists(path):
        raise _error(source, "a shard is missing", file, "no such file beside the index")
    shard = File(path)
    row = formats.recognise(shard)
    if row.name in (_NAME, "bundle"):  # which could name this one again
        raise _error(source, "an index or a bundle as a shard", "a checkpoint", file)
    with locating(path):
        checkpoint = formats.opened(row, shard, select)
    return replace(checkpoint, files=checkpoint.files or (shard,))


def _error(source: Source, problem: str, expected: object, found: object) -> ContainerError:
    return ContainerError(problem, file=source.path, expected=expected, found=found)
