"""The command line: the only room that prints or exits.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 the data cannot be
read or converted, 2 wrong usage.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer

from ckptconv.errors import CkptconvError, printable

if TYPE_CHECKING:
    from ckptconv.report import Report

app = typer.Typer(
    name="ckptconv",
    help="Convert LSTM, GRU and RNN checkpoints between PyTorch, Keras and MindSpore.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Source = Annotated[str, typer.Argument(metavar="SRC", help="The checkpoint to read.")]
Target = Annotated[
    Optional[str],  # noqa: UP045  (typer reads annotations at run time, on Python 3.10 too)
    typer.Option("-o", "--output", metavar="DST", help="Default: SRC with the target's suffix."),
]
Rename = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="REGEX=REPL", help="Rename modules; repeatable, applied in order."),
]
Kind = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="PATH=KIND", help="Say what a module is where the file cannot tell."),
]
Select = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="KEY", help="Which part of SRC, where it holds several."),
]
Map = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--map", metavar="FILE", help='TOML or JSON of "old path" = "new path".'),
]
Like = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="FILE", help="Take the names of this checkpoint or parameter list."),
]
Dtype = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Cast to float16, bfloat16, float32 or float64."),
]
Allow = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(metavar="NAME", help="Accept an approximation by name."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing target.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ReportFile = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--report", metavar="FILE", help="Also write the report as JSON to FILE."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing but errors.")]

_SUFFIXES = {"mindspore": ".ckpt", "mint": ".ckpt", "torch": ".pt", "keras": ".weights.h5"}
_SHORT = {"torch": "torch", "keras": "keras", "ms": "mindspore"}


def _direction(short_source: str, short_target: str) -> Callable[..., None]:
    source, target = _SHORT[short_source], _SHORT[short_target]

    def command(
        src: Source,
        output: Target = None,
        mint: Annotated[
            bool, typer.Option("--mint", help="Name parameters as mindspore.mint.nn does.")
        ] = False,
        rename: Rename = None,
        map_: Map = None,
        like: Like = None,
        kind: Kind = None,
        select: Select = None,
        dtype: Dtype = None,
        allow: Allow = None,
        dry_run: DryRun = False,
        force: Force = False,
        json_: Json = False,
        report: ReportFile = None,
        quiet: Quiet = False,
    ) -> None:
        to = "mint" if mint and target == "mindspore" else target
        _convert(
            src,
            output or _default_target(src, to),
            to=to,
            source=source,
            rename=rename,
            map_file=map_,
            like=like,
            kind=kind,
            select=select,
            dtype=dtype,
            allow=allow,
            dry_run=dry_run,
            force=force,
            as_json=json_,
            report_file=report,
            quiet=quiet,
        )

    command.__doc__ = f"Convert a {source} checkpoint to {target}."
    return command


for _pair in ("torch", "ms"), ("ms", "torch"):
    app.command("2".join(_pair))(_direction(*_pair))


@app.command()
def convert(
    src: Source,
    dst: Annotated[str, typer.Argument(metavar="DST", help="Its suffix chooses the format.")],
    from_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", help="torch, keras or mindspore; default: what SRC speaks."),
    ] = None,
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--to", help="torch, keras, mindspore or mint; default: by DST's suffix."),
    ] = None,
    rename: Rename = None,
    map_: Map = None,
    like: Like = None,
    kind: Kind = None,
    select: Select = None,
    dtype: Dtype = None,
    allow: Allow = None,
    dry_run: DryRun = False,
    force: Force = False,
    json_: Json = False,
    report: ReportFile = None,
    quiet: Quiet = False,
) -> None:
    """Convert SRC to DST, whatever their frameworks."""
    _convert(
        src,
        dst,
        to=to or _framework_of(dst),
        source=from_,
        rename=rename,
        map_file=map_,
        like=like,
        kind=kind,
        select=select,
        dtype=dtype,
        allow=allow,
        dry_run=dry_run,
        force=force,
        as_json=json_,
        report_file=report,
        quiet=quiet,
    )


@app.command()
def inspect(src: Source, select: Select = None, json_: Json = False) -> None:
    """Show what a checkpoint holds: container, modules with their kinds, tensors."""
    from ckptconv.inspection import describe

    description = describe(src, select=select)
    if json_:
        _print_json(description)
    else:
        from ckptconv.render import print_inspection

        print_inspection(description)


@app.command()
def formats() -> None:
    """List the file formats that can be read and written."""
    from ckptconv.containers import FORMATS

    for row in FORMATS:
        print(f"{row.name:16} {'read, write' if row.writes else 'read':12} {row.about}")


def main() -> None:
    """Run the command line; a CkptconvError becomes one line on stderr and exit code 1."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except CkptconvError as error:
        _fail(str(error))
    except MemoryError:
        _fail("out of memory")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """Leave through the exception path, so that temporary files are removed."""
    sys.exit(128 + signum)


def _fail(message: str) -> NoReturn:
    print(f"ckptconv: {message}", file=sys.stderr)
    sys.exit(1)


def _convert(
    src: str,
    dst: str,
    *,
    rename: list[str] | None,
    map_file: str | None,
    kind: list[str] | None,
    allow: list[str] | None,
    as_json: bool,
    report_file: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    from ckptconv.api import convert
    from ckptconv.renames import read_map
    from ckptconv.render import print_report, progress_bar

    if report_file and os.path.lexists(report_file) and not options["force"]:
        raise CkptconvError("exists already", file=report_file, hint="--force to replace it")
    with progress_bar(src, enabled=not quiet) as progress:
        report = convert(
            src,
            dst,
            rename=[*_pairs("--rename", rename), *(read_map(map_file) if map_file else ())],
            kinds=dict(_pairs("--kind", kind)),
            allow=allow or (),
            progress=progress,
            **options,
        )
    if report_file:
        _write_report(report, report_file)
    if as_json:
        _print_json(report.to_dict())
    elif not quiet:
        print_report(report)


def _pairs(option: str, values: list[str] | None) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values or ()]
    for left, separator, right in pairs:
        if not left or not separator:
            raise typer.BadParameter(f"{option} {left}{separator}{right}: expected LEFT=RIGHT")
    return [(left, right) for left, _, right in pairs]


def _default_target(src: str, to: str) -> str:
    path = Path(src)
    stem = path.name.removesuffix(".weights.h5") if path.suffix == ".h5" else path.name
    return str(path.with_name((stem if stem != path.name else path.stem) + _SUFFIXES[to]))


def _framework_of(dst: str) -> str:
    name = dst.lower()
    for framework, suffixes in (
        ("mindspore", (".ckpt",)),
        ("torch", (".pt", ".pth", ".bin")),
        ("keras", (".h5", ".hdf5", ".keras")),
    ):
        if name.endswith(suffixes):
            return framework
    raise typer.BadParameter(f"--to is needed: the suffix of {printable(dst)} does not tell")


def _write_report(report: Report, path: str) -> None:
    from ckptconv.output import atomic_path, open_sink

    with atomic_path(path, force=True) as temporary, open_sink(temporary) as sink:
        sink.write(json.dumps(report.to_dict(), indent=1).encode())


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=1))
