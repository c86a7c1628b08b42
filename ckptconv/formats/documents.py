"""The small text files beside a checkpoint: reports, tables of names, configurations."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from ckptconv.errors import CkptconvError, StrPath
from ckptconv.io.reader import File

_MAX_MAP, _MAX_REPORT = 64 << 20, 1 << 30


def read_object(path: StrPath) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for a file that holds anything else.

    Raises:
        ContainerError: the file cannot be opened.
    """
    source = File(path)
    if source.size > _MAX_REPORT or not source.head(64).lstrip().startswith(b"{"):
        return {}
    try:
        document = json.loads(source.read(0, source.size))
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def read_table(path: StrPath) -> dict[str, str]:
    """Return the entries ``"old" = "new"`` of a TOML or JSON file.

    Raises:
        CkptconvError: the file cannot be read, or is not a flat table of texts.
    """
    if sys.version_info >= (3, 11):  # imported here: slow to load, and rarely needed
        import tomllib
    else:
        import tomli as tomllib

    source = File(path)
    if source.size > _MAX_MAP:
        raise CkptconvError("too large for a table of names", file=source.path)
    text = source.read(0, source.size)
    try:
        table = json.loads(text) if text.lstrip()[:1] == b"{" else tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise CkptconvError(f"not TOML or JSON: {error}", file=source.path) from None
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        expected = 'lines such as "old.path" = "new"'
        raise CkptconvError("not a table of names", file=source.path, expected=expected)
    return table
