"""Keras 3's sharded weights: ``x.weights.json`` names the ``x_00000.weights.h5`` of each group.

Source of the format: ``ShardedH5IOStore`` in Keras's ``saving/saving_lib.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.errors import ContainerError
from ckptconv.formats.keras import h5 as hdf5
from ckptconv.formats.keras.h5_writer import facts_of
from ckptconv.formats.sharded import is_bare, read_index
from ckptconv.io.reader import File, Source
from ckptconv.tensors.tensor import Tensor


def sniff(source: Source) -> bool:
    """Tell whether the file is JSON that maps weights to ``.weights.h5`` files."""
    head = source.head(1 << 16)
    return head.lstrip()[:1] == b"{" and b'"weight_map"' in head and b'.weights.h5"' in head


def read(source: Source, *, select: str | None = None) -> Checkpoint:
    """Read all shards.

    Keras 3.10 begins a new file within a group and lists the first file only, so that a group may
    stand in any file of the index.

    Raises:
        ContainerError: a damaged index, a shard outside the folder or missing, weights that are
            in no shard, in two, or not in the index, or fewer than it counts.
    """
    index = read_index(source)
    shards = _shards(source, index.get("weight_map"))
    indexed = {group for groups in shards.values() for group in groups}
    tensors: dict[str, Tensor] = {}
    omitted: dict[str, str] = {}
    facts, files = KerasFacts("weights.h5"), [source]
    for file in shards:
        shard = File(os.path.join(os.path.dirname(source.path), file))
        part = hdf5.read(shard, select=select)
        said = facts_of(part)
        files.append(shard)
        if said.layout != "weights.h5":
            raise _refused(source, file, "a shard in the layout weights.h5", "the legacy layout")
        for name in [*part.tensors, *part.omitted]:
            if name.rpartition("/")[0] not in indexed:
                raise _refused(source, name, "each weight in the index", f"one in {file} alone")
            if name in tensors or name in omitted:
                raise _refused(source, name, "one shard with it", "two")
        tensors |= part.tensors
        omitted |= part.omitted
        facts = said._replace(names={**said.names, **facts.names})
    present = {name.rpartition("/")[0] for name in (*tensors, *omitted)}
    for group in sorted(indexed - present):
        raise _refused(source, group, "weights in a shard", "none")
    if not omitted:
        _check_total(source, index.get("metadata"), tensors)
    ordered = dict(sorted(tensors.items(), key=lambda item: hdf5.natural(item[0])))
    return Checkpoint("keras-sharded", ordered, facts=facts, omitted=omitted, files=tuple(files))


def _check_total(source: Source, metadata: Any, tensors: Mapping[str, Tensor]) -> None:
    """Notice a weight in a shard that Keras 3.10 names nowhere."""
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    held = sum(tensor.nbytes for tensor in tensors.values())
    if isinstance(total, int | float) and total != held:
        raise _refused(source, None, f"{total} bytes of weights, as the index says", held)


def _shards(source: Source, weight_map: Any) -> dict[str, set[str]]:
    """Return file name → the groups that the index says it holds."""
    if not isinstance(weight_map, dict):
        raise _refused(source, None, "a weight_map", type(weight_map).__name__)
    shards: dict[str, set[str]] = {}
    for group, files in weight_map.items():
        for file in files if isinstance(files, list) else [files]:
            if not is_bare(file):
                raise _refused(source, group, "the bare name of a file beside the index", file)
            shards.setdefault(file, set()).add(group.strip("/"))
    return shards


def _refused(source: Source, name: str | None, expected: object, found: object) -> ContainerError:
    return ContainerError(
        "sharded weights cannot be read",
        file=source.path,
        tensor=name,
        expected=expected,
        found=found,
    )
