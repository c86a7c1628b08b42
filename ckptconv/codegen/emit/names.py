"""Identifiers for a generated module: nothing of a file reaches the text but through here.

Names of layers become ASCII identifiers; what Python, the frameworks' module classes or the
generated module itself use gets a trailing underscore or a number.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

_LONGEST = 32
_PLAIN = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,63}")


@lru_cache
def reserved() -> frozenset[str]:
    """Return what no layer and no variable may be called.

    Python's own words, and in ``reserved.txt`` those of torch.nn.Module, mindspore.nn.Cell and of
    the generated module.
    """
    words = files("ckptconv.codegen.emit").joinpath("reserved.txt").read_text("utf-8").split()
    return frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *words])


def identifier(name: str, taken: Iterable[str] = ()) -> str:
    """Return an identifier that is read as this name, and is none of ``taken``.

    A name that can be one stays as it is.
    """
    used = {*reserved(), *taken}
    if _PLAIN.fullmatch(name) and name not in used:
        return name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    text = re.sub(r"[^0-9A-Za-z]+", "_", plain).strip("_")[:_LONGEST].rstrip("_") or "layer"
    text = f"layer{text}" if text[0].isdigit() else text
    wanted, count = text, 1
    while wanted in used:
        count += 1
        wanted = f"{text}_{count}" if count > 2 or text in taken else f"{text}_"
    return wanted


def paths(known: Iterable[str]) -> dict[str, str]:
    """Return module paths of which each part is an identifier, unique in its module."""
    found: dict[str, str] = {}
    children: dict[str, dict[str, str]] = {}
    for path in known:
        place = ""
        for part in path.split("."):
            names = children.setdefault(place, {})
            if part not in names:
                names[part] = identifier(part, names.values())
            place = f"{place}.{names[part]}".lstrip(".")
        found[path] = place
    return found


def printable(text: str, longest: int = 60) -> str:
    """Return text that can stand in a docstring or comment: ASCII, without quotes or escapes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode()
    return re.sub(r"[^\w .,:()+-]", "_", plain)[:longest]
