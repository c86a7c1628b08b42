"""Progress on stderr, where somebody looks: how much is done, how fast, how long it takes yet."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptconv.errors import CkptconvError

if TYPE_CHECKING:
    from ckptconv.tensors.writer import Progress

_LONG_WORK = 64 << 20


class Bar(NamedTuple):
    """A bar that moves, and a way to print a line above it, whole however long."""

    advance: Callable[[int], None]
    say: Callable[[str], None]


@contextmanager
def reading(
    file: str, *, passes: int = 1, slow: bool = False, enabled: bool
) -> Iterator[Progress | None]:
    """Yield what counts bytes of work on a file; None where that is over in a moment.

    Args:
        passes: how often each byte is worked on.
        slow: whether it takes long whatever the size.
    """
    size = passes * _size(file) if enabled and _looked_at() else 0
    with bar(size, of_bytes=True, enabled=size >= (1 if slow else _LONG_WORK)) as shown:
        yield shown and shown.advance


def _looked_at() -> bool:
    """Tell whether stderr is a terminal whose cursor goes back."""
    return sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _size(path: str) -> int:
    """Return the bytes of a file, of the bundle around it, or of all that an index names."""
    from ckptconv import formats

    file = formats.split_member(path)[0]
    try:
        own = os.path.getsize(file)
        several = file.endswith(".json") and own < _LONG_WORK
        return sum(part.size for part in formats.read(file).files) if several else own
    except (OSError, CkptconvError):
        return 0  # the work itself will say what is wrong


@contextmanager
def bar(total: int, *, of_bytes: bool = False, enabled: bool) -> Iterator[Bar | None]:
    """Yield a bar on stderr that is gone when the work is done; None where nobody looks."""
    if not (enabled and _looked_at()):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Shown

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False, highlight=False)

    console = Console(stderr=True)
    with Shown(
        *_columns(of_bytes),
        console=console,
        transient=True,
        redirect_stdout=False,  # which need not be the terminal
        redirect_stderr=False,
    ) as shown:
        task = shown.add_task("", total=total)
        yield Bar(lambda count: shown.advance(task, count), say)


def _columns(of_bytes: bool) -> tuple[Any, ...]:
    from rich import progress as p

    class Rate(p.ProgressColumn):
        def render(self, task: p.Task) -> Any:
            return f"{task.finished_speed or task.speed or 0:.1f}/s"

    amount = (p.DownloadColumn(), p.TransferSpeedColumn())
    return (
        p.BarColumn(),
        p.TaskProgressColumn(),
        *(amount if of_bytes else (p.MofNCompleteColumn(), Rate())),
        p.TimeRemainingColumn(),
    )
