"""``--rename`` and ``--map``: new paths for modules."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable

from ckptconv.errors import CkptconvError, DialectError
from ckptconv.graph.graph import Layer
from ckptconv.io.reader import Source

Rules = Iterable[tuple[str, str]]
_MAX_MAP = 64 << 20


def read_map(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Return the rules of a TOML or JSON file of ``"old path" = "new path"`` entries.

    An entry renames the module or parameter of that name and all below it.

    Raises:
        CkptconvError: the file cannot be read, or is not a flat table of texts.
    """
    if sys.version_info >= (3, 11):  # imported here: slow to load, and rarely needed
        import tomllib
    else:
        import tomli as tomllib

    source = Source(path)
    if source.size > _MAX_MAP:
        raise CkptconvError("too large for a table of names", file=source.path)
    text = source.read(0, source.size)
    try:
        table = json.loads(text) if text.lstrip()[:1] == b"{" else tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise CkptconvError(f"not TOML or JSON: {error}", file=source.path) from None
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise CkptconvError(
            "not a table of names", file=source.path, expected='lines such as "old.path" = "new"'
        )
    return [(rf"^{re.escape(old)}(?=\.|$)", new.replace("\\", r"\\")) for old, new in table.items()]


def rename(layers: Iterable[Layer], rules: Rules) -> None:
    """Apply (regular expression, replacement) rules in order to full names.

    Raises:
        CkptconvError: not a regular expression.
        DialectError: a rule changes a parameter's own name, or tears a layer apart.
    """
    try:
        compiled = [(re.compile(pattern), text) for pattern, text in rules]
        for layer in layers if compiled else ():
            layer.path = _new_path(layer, compiled)
    except re.error as error:
        raise CkptconvError(f"--rename: not a regular expression: {error}") from None


def _new_path(layer: Layer, rules: list[tuple[re.Pattern[str], str]]) -> str:
    paths = set()
    for param in layer.params:
        name = layer.full_name(param)
        for pattern, text in rules:
            name = pattern.sub(text, name)
        if not name.endswith(param):
            raise DialectError(
                "--rename may change a module's path, not a parameter's own name",
                tensor=layer.full_name(param),
                expected=f"a name that ends in {param}",
                found=name,
            )
        paths.add(name.removesuffix(param).removesuffix("." if param else ""))
    if len(paths) != 1:
        raise DialectError(
            "--rename tears a layer apart", tensor=layer.path, found=", ".join(sorted(paths))
        )
    return paths.pop()
