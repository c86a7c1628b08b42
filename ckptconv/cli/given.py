"""What was typed after an option, where that is wrong usage whatever the command does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer


def check_said(given: Mapping[str, Any], declared: Mapping[str, Any]) -> None:
    """Refuse an option that is given nothing, such as a shell's variable that is not set."""
    for name, value in given.items():
        if value == "" and not isinstance(declared[name], typer.models.ArgumentInfo):
            option = declared[name]
            typed = next(t for t in (option.default, *option.param_decls) if t.startswith("--"))
            raise typer.BadParameter(f"{typed}: expected {option.metavar}, found nothing")


def pairs(option: str, values: list[str] | None) -> list[tuple[str, str]]:
    """Split ``LEFT=RIGHT`` values; anything else is wrong usage."""
    found = [value.partition("=") for value in values or ()]
    for left, separator, right in found:
        if not separator or not (left or option == "--kind"):
            raise typer.BadParameter(f"{option} {left}{separator}{right}: expected LEFT=RIGHT")
    return [(left, right) for left, _, right in found]
