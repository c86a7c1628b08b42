"""Commands: what typer leaves to be said of options, for all of them in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

Function = TypeVar("Function", bound=Callable[..., Any])

_ARGUMENTS, _OTHERS, _SECOND = "Arguments", "Options", "The second file"
_HEADINGS: Mapping[str, tuple[str, ...]] = {
    "The source": (
        *("source", "select", "config", "kind", "gates", "forget_bias", "z_convention"),
        *("flat_layout",),
    ),
    "Names": ("rename", "map", "like", "like_order", "fill", "restore"),
    "Layers": ("drop", "fuse", "split", "fold_proj", "fold_bias"),
    "Values": ("dtype", "allow", "hardware"),
    "Network": ("network", "stubs"),
    _SECOND: (),
    "Output": (
        *("check", "dry_run", "force", "html", "report_file", "report", "as_json", "quiet"),
    ),
}
"""Heading of ``--help`` → options by their names in functions."""
_WIDEST, _FEW = 30, 12
"""The width of a column of options, and how many of them need no headings."""


class Command(TyperCommand):
    """A command that shows its options under headings, and refuses one of one value that is given
    several times."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _check_once(self.make_parser(ctx).parse_args([*args])[2])
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections = _sections(self.get_params(ctx), ctx)
        width = min(max(len(name) for rows in sections.values() for name, _ in rows), _WIDEST)
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in rows])


class App(typer.Typer):
    """The commands, each a ``Command``."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        return super().command(name, **{"cls": Command, **options})


def _sections(parameters: list[Any], ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """Return heading → (option, what it is for)."""
    few = len(parameters) <= _FEW
    found: dict[str, list[tuple[str, str]]] = {_ARGUMENTS: [], _OTHERS: []}
    found |= {heading: [] for heading in _HEADINGS}
    for parameter in parameters:
        is_option = parameter.param_type_name == "option"
        heading = _heading(parameter.name) if is_option and not few else _OTHERS
        row = parameter.get_help_record(ctx)
        found[heading if is_option else _ARGUMENTS] += [row] if row else []
    return {heading: rows for heading, rows in found.items() if rows}


def _heading(name: str) -> str:
    if name.startswith("target_"):
        return _SECOND
    return next((heading for heading, names in _HEADINGS.items() if name in names), _OTHERS)


def _check_once(given: list[Any]) -> None:
    """Refuse what would count in silence: the last of several values."""
    asks = any(parameter.is_eager for parameter in given)  # for help
    for parameter, times in Counter(() if asks else given).items():
        single = parameter.param_type_name == "option" and not parameter.multiple
        if single and times > 1 and not parameter.is_flag:
            typed = max(parameter.opts, key=len)
            raise typer.BadParameter(f"{typed}: expected one value, found {times}")
