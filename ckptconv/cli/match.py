"""``ckptconv match``: the plan for a target network, on a screen, as a map, or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from ckptconv.cli import options as o
from ckptconv.cli.targets import check_beside, framework
from ckptconv.errors import printable
from ckptconv.spelling import option, quoted

if TYPE_CHECKING:
    from ckptconv.passes.match import Plan

_SHOWN = {"forced": 4, "proposed": 7, "ambiguous": 5, "impossible": 5}
"""Lines of each group on a screen."""
_WIDE = 96
_ROWS = {
    "src": o.SRC,
    "target": o.SRC._replace(
        declaration=typer.Argument(
            metavar="TARGET", help="A checkpoint of the target network, or a list of parameters."
        )
    ),
    "output": o.Row(
        str | None,
        None,
        typer.Option(
            "-o", "--output", metavar="MAP", help="Write the map, to be edited, for --map."
        ),
    ),
    "to": o.Row(
        str | None, None, typer.Option("--to", metavar="NAME", help="The framework of TARGET.")
    ),
    "mint": o.Row(bool, False, typer.Option("--mint", help="The same as --to mint.")),
    **{name: row for name, row in o.NAMES.items() if name not in o.LIKE_ALONE},
    **{name: o.VALUES[name] for name in ("dtype", "allow", "fold_proj")},
    "force": o.FORCE,
    "as_json": o.JSON,
    "quiet": o.QUIET,
}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    help_ = "Say which module of SRC is which of a target, and why."
    app.command("match", help=help_)(o.takes(**_ROWS)(_match))


def command(src: str, like: str, **options: Any) -> str:
    """Return the command that drafts a map for a conversion with these options."""
    taken = o.NAMES.keys() - o.LIKE_ALONE
    given = o.named({name: value for name, value in options.items() if name in taken and value})
    pairs = ("rename", "kinds", "fill", "fold_bias", "fuse")
    said = (option(name, dict(given[name]) if name in pairs else given[name]) for name in given)
    return " ".join([f"ckptconv match {quoted(src)} {quoted(like)}", *said, "-o map.toml"])


def _match(
    src: str,
    target: str,
    output: str | None,
    to: str | None,
    mint: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    from ckptconv.cli.documents import print_json
    from ckptconv.cli.tables import print_texts
    from ckptconv.live.matching import match
    from ckptconv.tensors.writer import write_text

    if output:
        check_beside(output, "map", src, target, force=force)
    if mint and to:
        raise typer.BadParameter(f"--mint and --to {printable(to)}: expected one of them")
    whose = "mint" if mint else framework("--to", to) if to else None
    plan = match(src, target, to=whose, **o.named(options))
    if output:
        write_text(output, plan.to_map(), force=force)
    if as_json:
        print_json(plan.to_dict())
    elif not quiet:
        print_texts(_screen(plan), " " * 11)
        if output:
            print(printable(f"wrote {output}: edit it, then --map {output} --like {target}"))


def _screen(plan: Plan) -> Iterator[str]:
    """Yield a plan as one looks at it: what needs a decision, and a taste of what does not."""
    yield plan.counts()
    for group, shown in _SHOWN.items():
        entries = sorted(getattr(plan, group), key=lambda entry: not entry.warning)
        for entry in entries[:shown]:
            doubt = f"{entry.warning}! " if entry.warning else ""
            line = f"{group:10} {entry.ends}: {doubt}{entry.why}"
            yield line if len(line) <= _WIDE else f"{line[:_WIDE]}…"
        if len(entries) > shown:
            yield f"{group:10} … and {len(entries) - shown} more: -o MAP or --json"
    if plan.complete:
        yield "--like takes all of it"
    elif not (plan.ambiguous or plan.impossible):
        yield "--like refuses; --like-order accepts what is proposed, -o MAP is to correct it"
