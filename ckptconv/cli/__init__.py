"""The command line: the only room that prints or exits.

Results go to stdout, progress and messages to stderr; ``process`` has the exit codes.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from ckptconv._version import __version__
from ckptconv.cli import batch, match
from ckptconv.cli import options as o
from ckptconv.cli.command import App
from ckptconv.cli.process import run
from ckptconv.cli.targets import check_beside, default_target, framework_of
from ckptconv.cli.verify import add_to
from ckptconv.errors import CkptconvError, UnmatchedError, WrongFrameworkError
from ckptconv.spelling import quoted

if TYPE_CHECKING:
    from ckptconv.report import Report

_FIRST = """\b
First:
  ckptconv inspect model.pt             what is in the file
  ckptconv torch2ms model.pt            writes model.ckpt, says how to load it
  ckptconv verify model.pt model.ckpt   whether it is the same model
"""
app = App(
    name="ckptconv",
    help="Convert checkpoints between PyTorch, Keras and MindSpore: LSTM, GRU, RNN and what stands "
    "around them.",
    epilog=_FIRST,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DST = o.SRC._replace(
    declaration=typer.Argument(metavar="DST", help="Its suffix chooses the format.")
)
_TO = f"{o.TARGETS}; default: by DST's suffix."
_FROM = "torch, keras or mindspore; default: what SRC speaks."


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ckptconv {__version__}")
        raise typer.Exit


@app.callback()
@o.takes(
    version=o.Row(
        bool,
        False,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    )
)
def _options(version: bool) -> None:
    """What stands before a command."""


def _add_direction(short_source: str, short_target: str) -> None:
    source, target = o.FRAMEWORKS[short_source], o.FRAMEWORKS[short_target]
    mint = {"mint": o.Row(bool, False, typer.Option("--mint", help="Names of mindspore.mint.nn."))}

    @app.command(f"{short_source}2{short_target}", help=f"Convert from {source} to {target}.")
    @o.takes(
        src=o.SRC,
        output=o.Row(
            str | None,
            None,
            typer.Option("-o", "--output", metavar="DST", help="Default: SRC with a new suffix."),
        ),
        **(mint if target == "mindspore" else {}),
        **o.NAMES,
        **o.NETWORK,
        **o.VALUES,
        **o.OUTPUT,
    )
    def command(src: str, output: str | None, mint: bool = False, **options: Any) -> None:
        to = "mint" if mint else target
        try:
            _convert(src, output or default_target(src, to), to=to, source=source, **options)
        except WrongFrameworkError as error:
            error.hint = _right(error.spoken, src, source, target)
            raise


def _right(spoken: str, src: str, source: str, target: str) -> str:
    """Return the same command for the framework of the file, or, if that is the target, turned."""
    short = {name: short for short, name in o.FRAMEWORKS.items()}
    if spoken == target:
        return f"ckptconv {short[target]}2{short[source]} {quoted(src)}"
    wrong, right = (f"{short[name]}2{short[target]}" for name in (source, spoken))
    words = (right if word == wrong else word for word in sys.argv[1:])
    return " ".join(["ckptconv", *map(quoted, words)])


for _source in o.FRAMEWORKS:
    for _target in o.FRAMEWORKS:
        if _source != _target:
            _add_direction(_source, _target)


@app.command("convert", help="Convert SRC to DST, whatever their frameworks.")
@o.takes(
    src=o.SRC,
    dst=_DST,
    source=o.Row(str | None, None, typer.Option("--from", metavar="NAME", help=_FROM)),
    to=o.Row(
        str | None,
        None,
        typer.Option("--to", metavar="NAME", help=_TO),
    ),
    **o.NAMES,
    **o.NETWORK,
    **o.VALUES,
    **o.OUTPUT,
)
def convert(src: str, dst: str, to: str | None, **options: Any) -> None:
    _convert(src, dst, to=to or framework_of(dst), **options)


@app.command("inspect", help="Show what checkpoints hold: format, modules, tensors.")
@o.takes(
    files=o.Row(
        list[str], o.SRC.default, typer.Argument(metavar="FILE...", help="Checkpoints to read.")
    ),
    **{name: o.READ[name] for name in ("source", "select", "kind", "rename", "config")},
    as_json=o.JSON,
)
def inspect(files: list[str], as_json: bool, **options: Any) -> None:
    from ckptconv.cli.documents import error_document, inspections, print_json
    from ckptconv.cli.render import print_inspection
    from ckptconv.inspection import describe

    found: list[dict[str, Any]] = []
    for file in files:
        try:
            found.append(describe(file, **o.reading(options)))
        except CkptconvError as error:
            if len(files) == 1:
                raise
            found.append(error_document(error))
            print(f"ckptconv: {error}", file=sys.stderr)
        if not as_json and "modules" in found[-1]:
            print_inspection(found[-1])
    if as_json:
        print_json(found[0] if len(files) == 1 else inspections(found))
    if not all("modules" in document for document in found):
        raise typer.Exit(1)


@app.command("formats", help="List the file formats that can be read and written.")
@o.takes(as_json=o.JSON)
def formats(as_json: bool) -> None:
    from ckptconv.cli.documents import formats_document, print_json
    from ckptconv.formats.registry import FORMATS

    if as_json:
        print_json(formats_document(FORMATS))
        return
    for row in FORMATS:
        names = f" ({' '.join(row.suffixes)})" if row.suffixes else ""
        print(f"{row.name:16} {'read, write' if row.writes else 'read':12} {row.about}{names}")


add_to(app)
match.add_to(app)
batch.add_to(app)


def main() -> NoReturn:
    """Run the command line; see ``process`` for how it ends."""
    run(app)


def _convert(
    src: str,
    dst: str,
    *,
    as_json: bool,
    report_file: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    from ckptconv.api import convert
    from ckptconv.cli.progress import reading

    if report_file:
        check_beside(report_file, "report", src, dst, force=options["force"])
    try:
        with reading(src, enabled=not quiet) as progress:
            report = convert(src, dst, progress=progress, **o.named(options))
    except UnmatchedError as error:
        error.hint = f"{error.hint}; {match.command(src, **options)}"
        raise
    if report_file:
        _write_report(report, report_file)
    if as_json:
        from ckptconv.cli.documents import print_json

        print_json(report.to_dict())
    elif not quiet:
        from ckptconv.cli.render import print_report

        print_report(report)


def _write_report(report: Report, path: str) -> None:
    from ckptconv.codecs.json import to_json
    from ckptconv.tensors.writer import write_text

    write_text(path, to_json(report.to_dict()), force=True)
