"""Commands: what typer leaves to be said of options, for all of them in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

Function = TypeVar("Function", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command that refuses an option of one value that is given several times."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            _check_once(self.make_parser(ctx).parse_args([*args])[2])
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """The commands, each a ``Command``."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        return super().command(name, **{"cls": Command, **options})


def _check_once(given: list[Any]) -> None:
    """Refuse what would count in silence: the last of several values."""
    asks = any(parameter.is_eager for parameter in given)  # for help
    for parameter, times in Counter(() if asks else given).items():
        single = parameter.param_type_name == "option" and not parameter.multiple
        if single and times > 1 and not parameter.is_flag:
            typed = max(parameter.opts, key=len)
            raise typer.BadParameter(f"{typed}: expected one value, found {times}")
