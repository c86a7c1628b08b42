"""Options as they are typed: how their words are read, and how messages spell them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from ckptconv.spelling import quoted

if TYPE_CHECKING:
    from ckptconv.cli.options import Row
    from ckptconv.spelling import Spelling

CALLED = {"kinds": "kind", "report": "report_file"}
"""API's names that the command line has not."""
_ITS_OWN = ("to",)
"""Options that ``convert`` has where other commands say the same by their names."""


def spelled(rows: Mapping[str, Row], elsewhere: Mapping[str, Row]) -> Spelling:
    """Return how options are spelled for who typed a command.

    Args:
        rows: the options of the command.
        elsewhere: those of ``convert``.
    """

    def spell(name: str, value: object, side: str) -> str:
        own = CALLED.get(name, name)
        found = next((rows[n] for n in (side + own, own, name) if n in rows), None)
        row = found or elsewhere.get(own)
        typed = row.declaration.default if row else f"--{name.replace('_', '-')}"
        words = " ".join(_words(typed, value))
        there = row is not None or own in _ITS_OWN
        return f"'ckptconv convert … {words}'" if there and not found and value else words

    return spell


def _words(option: str, value: object) -> Iterator[str]:
    if value is None or value is True:
        yield option
        return
    if isinstance(value, Mapping):
        sides = ((k, v if isinstance(v, str) else ",".join(v)) for k, v in value.items())
        texts = ["=".join(pair) for pair in sides]
    else:
        texts = [str(text) for text in (value if isinstance(value, list) else [value])]
    yield from (f"{option} {quoted(text)}" for text in texts)


def check_said(given: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Refuse an option that is given nothing, such as a shell's variable that is not set."""
    for name, value in given.items():
        if value == "" and not isinstance(declared[name], typer.models.ArgumentInfo):
            option = declared[name]
            typed = next(t for t in (option.default, *option.param_decls) if t.startswith("--"))
            raise typer.BadParameter(f"{typed}: expected {option.metavar}, found nothing")


_JOINTS = {
    "--kind": r"(.*)=([\w.]+(?:\(.*\))?)",
    "--fill": r"(.*)=(.*)",
    "--rename": r"((?:[^()=]|\((?:[^()]|\([^()]*\))*\))+)=(.*)",
}
"""Which ``=`` is the one between, where the left side may have its own."""


def pairs(option: str, values: list[str] | None) -> list[tuple[str, str]]:
    """Split ``LEFT=RIGHT`` values; anything else is wrong usage."""
    joint = re.compile(_JOINTS.get(option, "(.*?)=(.*)"), re.DOTALL)
    found: list[tuple[str, str]] = []
    for value in values or ():
        whole = joint.fullmatch(value)
        left, separator, right = (whole[1], "=", whole[2]) if whole else value.partition("=")
        if not separator or not (left or option == "--kind"):
            raise typer.BadParameter(f"{option} {left}{separator}{right}: expected LEFT=RIGHT")
        found.append((left, right))
    return found
