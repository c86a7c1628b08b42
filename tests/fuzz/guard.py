"""What a conversion may do: read its own files, write its target. All else is a finding."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SECONDS, MEMORY = 5, 256 << 20
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_HARMLESS = frozenset(
    [
        "object.__getattr__",
        "os.listdir",
        "os.scandir",
        "sys._getframe",
        "builtins.id",
        "fcntl.flock",
    ]
)
_PLACED = frozenset(["open", "os.remove", "os.rename", "os.link"])
_MODULES = ("ckptconv.", "encodings.")


class Forbidden(BaseException):
    """Something that no checkpoint may cause; not an Exception, so that nobody swallows it."""


class Hang(BaseException):
    """An input took more than SECONDS of processor time."""


class Guard:
    """Watches this process from now on; ``watching`` says when.

    Args:
        folder: the only place where files may be opened.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._armed = folder + os.sep, False
        self.violations: list[str] = []
        sys.addaudithook(self._audit)
        signal.signal(signal.SIGPROF, _hang)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Forbid, and interrupt after SECONDS of processor time."""
        self.violations.clear()
        self._armed = True
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._armed = False

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._armed or event in _HARMLESS:
            return
        allowed = (
            (event == "compile" and args[1] == "<unknown>")  # ast.parse; "exec" would follow
            or (event == "mmap.__new__" and args[0] == -1)  # memory of no file
            or (event == "import" and str(args[0]).startswith(_MODULES))
            or (event in _PLACED and self._is_allowed(event, args))
        )
        if allowed:
            return
        self.violations.append(f"{event} {args!r:.200}")
        raise Forbidden(self.violations[-1])

    def _is_allowed(self, event: str, args: tuple[Any, ...]) -> bool:
        if event != "open":
            return all(str(a).startswith(self._folder) for a in args if isinstance(a, str))
        path, _, flags = args
        if isinstance(path, int):
            return True
        inside = (os.path.realpath(str(path)) + os.sep).startswith(self._folder)
        temporary = bool(flags & os.O_TMPFILE == os.O_TMPFILE)
        temporary |= str(path) + os.sep == self._folder  # about to be opened with O_TMPFILE
        ours = os.path.basename(str(path)).startswith((".target.", "target."))
        return temporary or (inside and (ours or not flags & _WRITES))


def limit_memory() -> None:
    """Let no allocation pass that is far beyond MEMORY, touched or not."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MEMORY, used + 2 * MEMORY))


def peak_memory() -> int:
    """Return the largest resident size so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _hang(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise Hang
