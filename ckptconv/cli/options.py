"""The options that several commands share, each declared once."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import typer

from ckptconv.cli.spelling import check_said, pairs, spelled
from ckptconv.dialects import DIALECTS
from ckptconv.spelling import read_by

FRAMEWORKS = {row.short: row.name for row in DIALECTS.values() if row.short}
"""Short names on the command line → frameworks."""
TARGETS = "torch, keras, mindspore or mint"


class Row(NamedTuple):
    """One option: the API's name of it, its type, default and declaration."""

    type: Any
    default: Any
    declaration: Any


def _text(*names: str, metavar: str, help: str) -> Row:
    return Row(str | None, None, typer.Option(*names, metavar=metavar, help=help))


def _many(*names: str, metavar: str, help: str) -> Row:
    return Row(list[str] | None, None, typer.Option(*names, metavar=metavar, help=help))


def _flag(*names: str, help: str) -> Row:
    return Row(bool, False, typer.Option(*names, help=help))


SRC = Row(
    str, inspect.Parameter.empty, typer.Argument(metavar="SRC", help="The checkpoint to read.")
)
SELECT = _text(
    "--select",
    metavar="KEY",
    help="Which part of SRC; KEY=NAME,… for several under names of their own.",
)
JSON = _flag("--json", help="Print one JSON document.")
QUIET = _flag("-q", "--quiet", help="Print nothing but errors.")
FORCE = _flag("--force", help="Replace an existing target.")
KIND = _many("--kind", metavar="PATH=KIND", help="Say what a module is where the file cannot tell.")

NAMES = {
    "kind": KIND,
    "select": SELECT,
    "rename": _many(
        "--rename",
        metavar="REGEX=REPL",
        help="Rename modules, by their paths; repeatable, applied in order.",
    ),
    "map": _text(
        "--map", metavar="FILE", help='TOML or JSON of "source" = "target": modules, parameters.'
    ),
    "like": _text(
        "--like",
        metavar="FILE",
        help="Take the names of this checkpoint or parameter list of the target network.",
    ),
    "like_order": _flag(
        "--like-order", help="With --like: accept what 'ckptconv match' proposes by order."
    ),
    "fill": _many(
        "--fill", metavar="PATH=zeros|ones|target", help="With --like: what only the target has."
    ),
    "drop": _many("--drop", metavar="PATH", help="Leave a module or parameter of SRC out."),
    "fold_bias": _many(
        "--fold-bias", metavar="CONV=BN", help="Move a convolution's bias into its BatchNorm."
    ),
    "restore": _text(
        "--restore",
        metavar="REPORT",
        help="Undo the conversion that made SRC, by what its --report wrote.",
    ),
    "fuse": _many(
        "--fuse", metavar="NEW=A,B,…", help="Make one recurrent layer of several layers."
    ),
    "split": _many(
        "--split", metavar="PATH", help="Make PATH_0, PATH_1 … of a recurrent layer of several."
    ),
}
NETWORK = {
    "config": _text(
        "--config", metavar="JSON", help="A Keras model's configuration, beside weights alone."
    ),
    "network": _text(
        "--network", metavar="FILE.py", help="Write the network too, where SRC records it."
    ),
    "stubs": _many(
        "--stub", metavar="NAME", help="Leave a layer of the network as a function to write."
    ),
}
LIKE_ALONE = ("like", "like_order", "restore")
"""Options of names that mean nothing where nothing is written."""
VALUES = {
    "dtype": _text(
        "--dtype", metavar="NAME", help="Cast to float16, bfloat16, float32 or float64."
    ),
    "allow": _many(
        "--allow",
        metavar="NAME",
        help="Accept what is not exact: dequantize, spectral_norm_dim=0 or 1, or an activation of "
        "Keras that the target's layer does not have, such as hard_sigmoid, relu, linear.",
    ),
    "fold_proj": _flag(
        "--fold-proj", help="Turn proj_size into an exactly equal LSTM and a Dense."
    ),
    "gates": _text("--gates", metavar="ORDER", help="The source's gate order: iofc, onnx, …"),
    "forget_bias": Row(
        float, 0.0, typer.Option("--forget-bias", help="What the source adds to the forget gate.")
    ),
    "z_convention": _flag("--z-convention", help="The source's GRU is h' = (1-z)·h + z·n."),
    "flat_layout": _text(
        "--layout", metavar="cpu|gpu|ascend", help="Of a flat LSTM of MindSpore before 1.6."
    ),
    "hardware": _text(
        "--target",
        metavar="ascend",
        help="Refuse what this hardware cannot run; name what it rounds away.",
    ),
}
OUTPUT = {
    "check": _flag("--check", help="Read the target back and compare before it takes its name."),
    "dry_run": _flag("--dry-run", help="Do everything but write."),
    "force": FORCE,
    "as_json": JSON,
    "report_file": _text("--report", metavar="FILE", help="Also write the report, as JSON."),
    "quiet": QUIET,
}


_COMPLETED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("to", "source", "via"), tuple(DIALECTS)),
    "dtype": ("float16", "bfloat16", "float32", "float64"),
    "flat_layout": ("cpu", "gpu", "ascend"),
    "hardware": ("ascend",),
    "device": ("CPU", "GPU", "Ascend"),
    "allow": ("dequantize", "spectral_norm_dim=0", "spectral_norm_dim=1", "hard_sigmoid"),
    "suffix": tuple(dict.fromkeys(s for row in DIALECTS.values() for s in row.suffixes)),
}
"""What a shell completes the values of options to; those of ``--kind`` are the table's."""
BEFORE = "_CKPTCONV_BEFORE"
"""The variable for the beginning of a word that a shell keeps as it is."""


def _completing(name: str) -> Callable[[str], list[str]]:
    def complete(begun: str) -> list[str]:
        before, values = os.environ.get(BEFORE, ""), _COMPLETED.get(name, ())
        head, equals, _ = (before + begun).partition("=")
        if name == "kind" and equals:
            from ckptconv.graph.kinds import KINDS, PARAMETER

            values = tuple(f"{head}={kind}" for kind in (*KINDS, PARAMETER))
        fitting = (value for value in values if value.startswith(before + begun))
        return [value.removeprefix(before) for value in fitting]

    return complete


def takes(**rows: Row) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that is written with ``**options`` these arguments and options."""

    for name, row in rows.items():
        plain = name.removeprefix("target_")
        if plain in _COMPLETED or plain == "kind":
            row.declaration.autocompletion = _completing(plain)

    frameworks = [n for n in rows if n.removeprefix("target_") in ("to", "source", "via")]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**given: Any) -> None:
            check_said(given, {name: row.declaration for name, row in rows.items()})
            given |= {name: FRAMEWORKS.get(given[name], given[name]) for name in frameworks}
            before = read_by(spelled(rows, CONVERT))
            try:
                function(**given)
            finally:
                read_by(before)

        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=row.default,
                annotation=Annotated[row.type, row.declaration],
            )
            for name, row in rows.items()
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


_LISTS = ("allow", "split", "drop", "stubs")


def named(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of ``NAMES`` and ``VALUES`` as the API takes them."""
    pairwise = {"rename": "rename", "kind": "kinds", "fill": "fill", "fold_bias": "fold_bias"}
    taken = dict(options)
    for name, argument in pairwise.items():
        if name in taken:
            taken[argument] = pairs(f"--{name.replace('_', '-')}", taken.pop(name))
    if "fuse" in taken:
        taken["fuse"] = [(new, parts.split(",")) for new, parts in pairs("--fuse", taken["fuse"])]
    return taken | {name: taken[name] or () for name in _LISTS if name in taken}


READ = {
    "source": _text("--from", metavar="NAME", help="Framework of SRC; default: what it speaks."),
    **{n: NAMES[n] for n in ("select", "kind", "rename", "map", "fuse", "split", "restore")},
    "config": NETWORK["config"],
    **{n: VALUES[n] for n in ("allow", "gates", "forget_bias", "z_convention", "flat_layout")},
}
"""What says how a file is read."""
CONVERT = {**READ, **NAMES, **NETWORK, **VALUES, **OUTPUT}
"""All that a conversion takes."""


def prefixed(prefix: str, rows: Mapping[str, Row], of: str) -> dict[str, Row]:
    """Return options of the same meaning for another file: ``--kind`` as ``--target-kind``."""
    made = {}
    for name, row in rows.items():
        option = row.declaration.default  # where typer keeps the first name
        here = typer.Option(
            f"--{prefix}-{option[2:]}", metavar=row.declaration.metavar, help=f"{option} for {of}."
        )
        made[f"{prefix}_{name}"] = row._replace(declaration=here)
    return made


def reading(given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return what the API takes of the options in ``READ`` that were given."""
    said = {name: given.get(prefix + name) for name in READ}
    found = {name: value for name, value in said.items() if value not in (None, False, [])}
    return {prefix + name: value for name, value in named(found).items()}
