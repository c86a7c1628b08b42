"""The commands that prove rather than convert: verify, golden, replay, diff, roundtrip."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import typer

from ckptconv.cli import options as o
from ckptconv.cli.progress import reading
from ckptconv.cli.targets import framework

_BOTH = {**o.READ, **o.prefixed("target", o.READ, "the second file")}
_DROP = {"drop": o.NAMES["drop"]}
_DROP |= o.prefixed("target", _DROP, "the second file")
_DEVICE = o.Row(
    str, "CPU", typer.Option("--device", metavar="CPU|GPU|Ascend", help="What MindSpore runs on.")
)
_NETWORK = o.Row(
    str | None,
    None,
    typer.Option("--network", metavar="FILE.py", help="The written network to run, whole."),
)
_STUBS = o.NETWORK["stubs"]
_SEED = o.Row(int, 0, typer.Option("--seed", help="Seed of the inputs."))
_OUTPUT = {"as_json": o.JSON, "quiet": o.QUIET}


def _path(metavar: str, help: str) -> o.Row:
    return o.SRC._replace(declaration=typer.Argument(metavar=metavar, help=help))


_DST = _path("DST", "The converted checkpoint.")
_HTML = o.Row(
    str | None, None, typer.Option("--html", metavar="FILE", help="Also write a page to look at.")
)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command, help_, rows in (
        (verify, "Show that two checkpoints compute the same, or where not.", _VERIFY),
        (
            golden,
            "Write inputs and outputs of layers, to replay elsewhere.",
            _GOLDEN,
        ),
        (replay, "Run a checkpoint, in its framework, on what golden wrote.", _REPLAY),
        (diff, "Compare two checkpoints value by value, in any frameworks.", _DIFF),
        (roundtrip, "Convert to a framework and back, and compare bit for bit.", _ROUNDTRIP),
    ):
        app.command(command.__name__, help=help_)(o.takes(**rows)(command))


_VERIFY = {
    "src": o.SRC,
    "dst": _DST,
    "run": o.Row(bool, False, typer.Option("--run", help="Also run both in their frameworks.")),
    "network": _NETWORK,
    "stubs": _STUBS,
    "tolerance": o.Row(
        float | None,
        None,
        typer.Option("--tolerance", help="How far outputs may be off, instead of what is derived."),
    ),
    "seed": _SEED,
    "device": _DEVICE,
    **_BOTH,
    **_DROP,
    "html": _HTML,
    "force": o.FORCE,
    **_OUTPUT,
}


def verify(src: str, dst: str, html: str | None, force: bool, **options: Any) -> None:
    from ckptconv.verification.page.page import write_page
    from ckptconv.verification.verify import verify as prove

    arguments, shown = _split(options)
    run, enabled = arguments["run"], not shown["quiet"]
    with reading(src, passes=2 + run, slow=run, enabled=enabled) as progress:
        report = prove(src, dst, progress=progress, **arguments)
    if html:
        write_page(html, report, command=shlex.join(["ckptconv", *sys.argv[1:]]), force=force)
    _finish(report, **shown)


_GOLDEN = {
    "src": o.SRC,
    "output": o.Row(
        str,
        o.SRC.default,
        typer.Option("-o", "--output", metavar="V.npz", help="The vectors to write."),
    ),
    "network": o.Row(
        bool,
        False,
        typer.Option("--network", help="Of the whole model, which is run, not of layers."),
    ),
    "stubs": _STUBS,
    "seed": _SEED,
    **o.READ,
    "force": o.FORCE,
    **_OUTPUT,
}


def golden(src: str, output: str, force: bool, **options: Any) -> None:
    from ckptconv.cli.documents import print_json
    from ckptconv.cli.tables import counted
    from ckptconv.verification.golden import golden as make

    arguments, shown = _split(options)
    meta = make(src, output, force=force, **arguments)
    if shown["as_json"]:
        print_json(meta)
    elif not shown["quiet"]:
        made = (
            f"{len(meta['cases'])} sets of inputs"
            if options.get("network")
            else counted(len(meta["layers"]), "recurrent layer")
        )
        print(f"wrote {output}: vectors of {made}")


_REPLAY = {
    "dst": _path("FILE", "The checkpoint to run."),
    "vectors": _path("V.npz", "What golden wrote."),
    "network": _NETWORK,
    "device": _DEVICE,
    "reference_only": o.Row(
        bool, False, typer.Option("--reference", help="Run in NumPy, without a framework.")
    ),
    **o.READ,
    **_OUTPUT,
}


def replay(dst: str, vectors: str, **options: Any) -> None:
    from ckptconv.verification.replay import replay as play

    arguments, shown = _split(options)
    _finish(play(dst, vectors, **arguments), **shown)


_DIFF = {
    "a": _path("A", "A checkpoint."),
    "b": _path("B", "Another one."),
    "atol": o.Row(
        float,
        0.0,
        typer.Option("--atol", help="Difference that counts as none; 0 means every bit."),
    ),
    **_BOTH,
    **_DROP,
    **_OUTPUT,
}


def diff(a: str, b: str, **options: Any) -> None:
    from ckptconv.verification.diff import diff as compare

    arguments, shown = _split(options)
    with reading(a, enabled=not shown["quiet"]) as progress:
        found = compare(a, b, progress=progress, **arguments)
    _finish(found, **shown)


_ROUNDTRIP = {
    "src": o.SRC,
    "via": o.Row(
        str,
        o.SRC.default,
        typer.Option("--via", metavar="NAME", help="There and back: torch, keras or mindspore."),
    ),
    "report": o.OUTPUT["report_file"],
    **o.READ,
    "force": o.FORCE,
    **_OUTPUT,
}


def roundtrip(src: str, via: str, **options: Any) -> None:
    from ckptconv.verification.roundtrip import roundtrip as go

    arguments, shown = _split(options)
    to = framework("--via", via)
    with reading(src, passes=3, enabled=not shown["quiet"]) as progress:
        found = go(src, via=to, progress=progress, **arguments)
    _finish(found, **shown)


def _split(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bool]]:
    """Separate what the API takes from what is about printing."""
    shown = {name: options.pop(name) for name in _OUTPUT}
    own = {name: value for name, value in options.items() if name not in _BOTH}
    return own | o.reading(options) | o.reading(options, "target_"), shown


def _finish(report: Any, as_json: bool, quiet: bool) -> None:
    """Print what was found; exit with 1 unless everything is the same."""
    from ckptconv.cli.documents import print_json
    from ckptconv.cli.render import left_out
    from ckptconv.cli.tables import print_table, print_texts

    if as_json:
        print_json(report.to_dict())
    elif not quiet:
        for title, headers, rows in report.tables():
            print_table(headers, rows, title)
        print_texts([f"note: {note}" for note in report.notes])
        for file, rules in report.left_out.items():
            print_texts(": ".join(filter(None, (file, told))) for told in left_out(rules))
    if not report.ok:
        raise typer.Exit(1)
