"""The tables of the pages that are made from the code: ``<!-- name -->`` … ``<!-- /name -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from typer.main import get_command

from ckptconv.cli import app
from ckptconv.cli.options import FRAMEWORKS
from ckptconv.dialects import DIALECTS
from ckptconv.dialects.keras import network as keras
from ckptconv.dialects.keras.network.operation import PREFIX
from ckptconv.dialects.torch.network.operators import GROUPS as OPERATORS
from ckptconv.formats.registry import FORMATS
from ckptconv.graph.forms import Forms, slots, stored_by_row
from ckptconv.graph.kinds import KINDS
from tests.documentation import fates

_DIRECTIONS = [f"{a}2{b}" for a in FRAMEWORKS for b in FRAMEWORKS if a != b]
GROUPS = {
    "conversions": [*_DIRECTIONS, "convert"],
    "directions": _DIRECTIONS,
    "proofs": ["verify", "golden", "replay", "diff", "roundtrip"],
}


def options() -> str:
    """Return a row for each option: its names, what it is for, the commands that take it."""
    command = get_command(app)
    rows: dict[tuple[str, str], list[str]] = {}
    for name, sub in {**command.commands, "ckptconv": command}.items():
        for option in sub.params:
            if option.param_type_name == "option" and not _of_second_file(option.opts):
                value = f" {option.metavar}" if option.metavar else ""
                names = ", ".join(_code(one + value) for one in option.opts)
                rows.setdefault((names, option.help), []).append(name)
    lines = ["| option | | taken by |", "|---|---|---|"]
    lines += [
        f"| {names} | {help_} | {_takers([*command.commands, 'ckptconv'], by)} |"
        for (names, help_), by in rows.items()
    ]
    return "\n".join(lines)


def _of_second_file(names: list[str]) -> bool:
    return any(name.startswith("--target-") for name in names)


def _code(text: str) -> str:
    """Return code for a cell of a table, whose bars end cells even in backticks."""
    return f"<code>{text.replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def _takers(every: list[str], by: list[str]) -> str:
    told = []
    for word, group in GROUPS.items():
        if set(group) <= set(by):
            by, told = [name for name in by if name not in group], [*told, word]
    return ", ".join([*told, *(f"`{name}`" for name in sorted(by, key=every.index))])


def commands() -> str:
    """Return a row for each command."""
    lines = ["| command | |", "|---|---|"]
    for name, sub in get_command(app).commands.items():
        arguments = [p.metavar.strip("{}") for p in sub.params if p.param_type_name == "argument"]
        lines.append(f"| `{' '.join(['ckptconv', name, *arguments])}` | {sub.help} |")
    return "\n".join(lines)


def formats() -> str:
    """Return a row for each file format."""
    lines = ["| format | | suffixes | |", "|---|---|---|---|"]
    for row in FORMATS:
        suffixes = " ".join(f"`{suffix}`" for suffix in row.suffixes)
        does = "read, written" if row.writes else "read"
        lines.append(f"| `{row.name}` | {row.about} | {suffixes} | {does} |")
    return "\n".join(lines)


def layers() -> str:
    """Return a row for each kind of layer, and a column for each framework."""
    columns = {name: row.forms for name, row in DIALECTS.items()}
    lines = [f"| layer | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    lines += [
        f"| {kind} | {' | '.join(_stored(kind, forms) for forms in columns.values())} |"
        for kind in KINDS
    ]
    return "\n".join(lines)


def _stored(kind: str, forms: Forms) -> str:
    """Return a class and its parameters with their axes, where the form says other than torch's."""
    form = forms.get(kind)
    if form is None:
        return "–"
    said = [
        f"{slot.name} `{slot.axes}`" if slot.axes else slot.name
        for param, slot in slots(kind, forms)
        if slot and stored_by_row(kind)
    ]
    weights = f": {', '.join(said)}" if said else ""
    return f"`{form.call.space}.{form.call.name}`{weights}"


def _listed(rules: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(rules, key=str.lower)) + "."


def _called(operation: str) -> str:
    """Return the function of ``keras.ops`` that records an operation."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation.removeprefix(PREFIX)).lower()


def operators() -> str:
    """Return a row for each group of operators of torch.export."""
    rows = (f"| {group} | {_listed(rules)[:-1]} |" for group, rules in OPERATORS.items())
    return "\n".join(["| for | operators |", "|---|---|", *rows])


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "options": options,
    "formats": formats,
    "layers": layers,
    "fates": fates.markdown,
    "keras_layers": lambda: _listed(name for name in keras.RULES if "." not in name),
    "keras_operations": lambda: _listed(_called(n) for n in keras.RULES if n.startswith(PREFIX)),
    "torch_operators": operators,
}
_MARKED = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->\n", re.DOTALL)


def filled(text: str) -> str:
    """Return a page with its tables as the code makes them."""
    return _MARKED.sub(lambda m: f"<!-- {m[1]} -->\n{TABLES[m[1]]()}\n<!-- /{m[1]} -->\n", text)


def marked(text: str) -> list[str]:
    """Return the names of a page's tables."""
    return [m[1] for m in _MARKED.finditer(text)]
