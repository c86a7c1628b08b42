"""One shard of several, given alone: its layers are a part of the network's, some of them torn.

An index that names the file proves it; other shards of its count beside it make it likely.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress

from ckptconv.errors import CkptconvError, ContainerError
from ckptconv.formats.sharded import read_index
from ckptconv.io.reader import File
from ckptconv.spelling import quoted

_NUMBERED = re.compile(r"(.*?)[-_](\d{1,6})[-_]of[-_](\d{1,6})(\..*)?")
_KERAS = re.compile(r"(.*)_\d{5}\.weights\.h5")
_MOST_INDEXES = 16


def notes_on(path: str) -> tuple[str, ...]:
    """Return what to know of a file that may be one shard of several.

    Raises:
        ContainerError: an index beside the file names it.
    """
    folder, name = os.path.split(path)
    numbered, keras = _NUMBERED.fullmatch(name), _KERAS.fullmatch(name)
    beside: Sequence[str] = ()
    if numbered:
        with suppress(OSError):  # a file can be read where its folder cannot
            beside = sorted(os.listdir(folder or "."))
    indexes = [one for one in beside if one.endswith(".json") and ".index." in one]
    if keras:
        indexes.append(f"{keras[1]}.weights.json")
    for index in indexes[:_MOST_INDEXES]:
        shards = _named(os.path.join(folder, index))
        if name in shards:
            raise ContainerError(
                "one shard of a checkpoint",
                file=path,
                expected="the index that names all of them",
                found=f"one of {len(shards)}",
                hint=quoted(os.path.join(folder, index)),
            )
    others = [one for one in beside if one != name and _is_sibling(one, numbered)]
    if not others:
        return ()
    return (
        f"by its name one of {len(others) + 1} shards, as {others[0]!r} beside it is, and no index "
        "is there: what the others hold is missing, and a layer may be torn",
    )


def _named(index: str) -> set[str]:
    """Return the files that an index names; none where it is not there, or damaged."""
    try:
        table = read_index(File(index)).get("weight_map")
    except CkptconvError:
        return set()
    places: Iterable[object] = table.values() if isinstance(table, dict) else ()
    lists = (place if isinstance(place, list) else [place] for place in places)
    return {file for files in lists for file in files if isinstance(file, str)}


def _is_sibling(other: str, shard: re.Match[str] | None) -> bool:
    match = _NUMBERED.fullmatch(other)
    return bool(match and shard and match.group(1, 3, 4) == shard.group(1, 3, 4))
