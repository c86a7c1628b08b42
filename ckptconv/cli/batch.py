"""``ckptconv batch``: a folder of checkpoints, in several processes, stopped whenever one likes."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from ckptconv.cli import options as o
from ckptconv.cli.spelling import spelled
from ckptconv.cli.targets import framework
from ckptconv.dialects import DIALECTS
from ckptconv.errors import CkptconvError, UsageError, printable
from ckptconv.io.apart import Apart
from ckptconv.spelling import read_by

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

    from ckptconv.batch import Outcome

_ROWS = {
    "src": o.SRC._replace(
        declaration=typer.Argument(metavar="SRC_DIR", help="The folder to search.")
    ),
    "dst": o.SRC._replace(declaration=typer.Argument(metavar="DST_DIR", help="Made if missing.")),
    "to": o.Row(str, o.SRC.default, typer.Option("--to", metavar="NAME", help=o.TARGETS + ".")),
    "suffix": o.Row(
        str | None, None, typer.Option("--suffix", metavar=".EXT", help="Suffix of the targets.")
    ),
    "jobs": o.Row(int, 1, typer.Option("--jobs", metavar="N", min=1, help="Number of processes.")),
    **{name: row for name, row in o.NAMES.items() if name != "restore"},
    "config": o.NETWORK["config"],
    "network": o.Row(
        bool, False, typer.Option("--network", help="Write each network too, beside its target.")
    ),
    "stubs": o.NETWORK["stubs"],
    **o.VALUES,
    "check": o.OUTPUT["check"]._replace(
        declaration=typer.Option("--check", help="Read each target back; this is always done.")
    ),
    "dry_run": o.OUTPUT["dry_run"],
    "force": o.FORCE,
    "as_json": o.JSON,
    "quiet": o.QUIET,
}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    help_ = "Convert all below SRC_DIR; what is done already is skipped."
    app.command("batch", help=help_)(o.takes(**_ROWS)(_batch))


def _batch(
    src: str,
    dst: str,
    to: str,
    suffix: str | None,
    jobs: int,
    check: bool,  # noqa: ARG001  # every target is
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    from ckptconv.batch import FAILED, convert_many
    from ckptconv.cli.documents import outcomes_document, print_json

    gc.set_threshold(10_000)  # a run may be long, and errors leave cycles that hold open files
    target = framework("--to", to)
    pairs = _found(src, dst, suffix or DIALECTS[target].suffix, target)
    with _workers(jobs) as executor, _watching(len(pairs), as_json or quiet) as done:
        outcomes = convert_many(pairs, to=target, executor=executor, done=done, **o.named(options))
    if as_json:
        print_json(outcomes_document(outcomes))
    elif not quiet:
        _print_counts(outcomes)
    if any(outcome.status == FAILED for outcome in outcomes):
        raise typer.Exit(1)


def _found(src: str, dst: str, suffix: str, target: str) -> list[tuple[Path, Path]]:
    """Return the pairs to convert.

    Raises:
        CkptconvError: no folder, or nothing in it; UsageError: a suffix the target does not have.
    """
    from ckptconv.batch import find
    from ckptconv.formats import SUFFIXES

    known = DIALECTS[target].suffixes
    if suffix not in known:
        raise UsageError("--suffix", expected=" or ".join(known), found=suffix)
    if not os.path.isdir(src):
        raise CkptconvError("not a folder", file=src)
    if os.path.lexists(dst) and not os.path.isdir(dst):
        raise CkptconvError("not a folder", file=dst)
    if not (pairs := find(src, dst, suffix)):
        expected = f"files whose names end in {' '.join(SUFFIXES)}"
        raise CkptconvError("holds no checkpoints", file=src, expected=expected)
    return pairs


@contextmanager
def _workers(count: int) -> Iterator[Executor | None]:
    """Yield a pool of processes; when this one is stopped, none of them is left."""
    if count == 1:
        yield None
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(count, initializer=_begin) as executor:
        try:
            yield executor
        except BaseException:
            # Who does not wait leaves Python, when it ends, a pool that may be ending itself.
            waiting = Apart(partial(executor.shutdown, cancel_futures=True))
            for worker in multiprocessing.active_children():
                worker.terminate()
            waiting.finish()
            raise


def _begin() -> None:
    """Prepare a worker process."""
    from ckptconv.batch import stoppable

    read_by(spelled(_ROWS, o.CONVERT))
    stoppable()


@contextmanager
def _watching(total: int, silent: bool) -> Iterator[Any]:
    """Yield what prints each outcome: errors always, the rest where no bar counts it."""
    from ckptconv.cli.progress import bar

    ended: list[Outcome] = []
    with bar(total, enabled=not silent) as shown:
        silent = silent or (shown is not None and sys.stdout.isatty())

        def done(outcome: Outcome) -> None:
            ended.append(outcome)
            if outcome.error:
                _say_failed(outcome, shown.say if shown else None)
            elif not silent:
                line = f"{outcome.status}: {outcome.source} → {outcome.target}"
                print(printable(line), flush=True)
            if shown:
                shown.advance(1)

        try:
            yield done
        except BaseException:
            told = f"stopped: {len(ended)} of {total} done; the same command goes on from here"
            print(f"ckptconv: {told}", file=sys.stderr)
            raise


def _say_failed(outcome: Outcome, say: Callable[[str], None] | None) -> None:
    named = outcome.error.startswith((f"{outcome.source}:", f"{outcome.target}:"))
    line = printable(f"failed: {'' if named else f'{outcome.source}: '}{outcome.error}")
    if say:
        say(line)
    else:
        print(line, file=sys.stderr)


def _print_counts(outcomes: list[Outcome]) -> None:
    from ckptconv.batch import CONVERTED, FAILED, UNCHANGED, WOULD_CONVERT

    statuses = [outcome.status for outcome in outcomes]
    dry = WOULD_CONVERT in statuses
    shown = (WOULD_CONVERT if dry else CONVERTED, UNCHANGED, FAILED)
    print(", ".join(f"{statuses.count(status)} {status}" for status in shown))
