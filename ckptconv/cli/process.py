"""The process around the commands: its output in any encoding, its signals, and how it ends.

Exit codes: 0 done, 1 the data cannot be read or converted, 2 wrong usage, 130 and 143 stopped.
Whoever closes a pipe has read enough: that changes no exit code.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn

import typer

from ckptconv.cli.options import BEFORE
from ckptconv.errors import CkptconvError, ContainerError, UsageError

_WRITTEN = {
    **{"→": "->", "×": "x", "…": "...", "–": "-", "·": "*", "⊙": "*"},
    **{"─": "-", "│": "|", "├": "+", "└": "+"},
}
_CLOSED = (errno.EPIPE, errno.EINVAL)
"""What a system says of a pipe that nobody reads; Windows says the second."""
_STOPS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
"""What ends a program from outside; the last, that its terminal is gone, Windows has not."""
_SOON = 0.01
"""Seconds until a signal comes again that was lost."""
_Refused: type[Any] = typer.BadParameter.__mro__[1]
"""typer's error of usage, which it has no public name for."""


def run(app: typer.Typer) -> NoReturn:
    """Run the command line; every error becomes one line on stderr and, with --json, a document."""
    for number in _STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup hands it on
            signal.signal(number, _terminate)
    _open_closed()
    _prepare_output()
    _leave_out_options(app, next((word for word in _words() if word[:1] != "-"), ""))
    code = _closing(lambda: app(prog_name="ckptconv", standalone_mode=False))
    sys.exit(_closing(sys.stdout.flush) or code)


def _words() -> list[str]:
    """Return the words of the command line, also where a shell asks how it may go on."""
    if "_CKPTCONV_COMPLETE" not in os.environ:
        return sys.argv[1:]
    if "COMP_WORDS" in os.environ:
        _join_words()
    asked = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")
    return asked.split()[1:]


def _join_words() -> None:
    """Undo that bash splits ``norm=La`` at ``=``; for an answer it takes the end of a word."""
    at = int(os.environ["COMP_CWORD"])
    given = [*os.environ["COMP_WORDS"].split("\n"), ""][: at + 1]
    words: list[str] = []
    for word in given:
        if words and (word == "=" or words[-1].endswith("=")):
            words[-1] += word
        else:
            words.append(word)
    last = words.pop()
    if last == given[at]:
        return
    name, equals, rest = last.partition("=") if last.startswith("--") else ("", "", last)
    head, begun = rest[: rest.rfind("=") + 1], rest[rest.rfind("=") + 1 :]
    words += [name] if equals else []
    os.environ.update(COMP_WORDS="\n".join([*words, begun]), COMP_CWORD=str(len(words)))
    os.environ[BEFORE] = head


def _leave_out_options(app: typer.Typer, name: str) -> None:
    """Take the options off all commands but one: making them is a quarter of the time of --help."""
    for command in app.registered_commands:
        if command.name != name:
            command.callback = _nothing


def _nothing() -> None:
    """Stand in for a command that is listed, not run."""


def _closing(step: Callable[[], object]) -> int:
    """Return the exit code of a step, having said what is wrong."""
    try:
        code = step()
    except _Refused as error:
        if type(error) is _Refused and error.ctx and _has_output(error.ctx.command):
            error.message += "; try -o DST, which names what is written"  # beside the one source
        error.show()
        _document(UsageError(error.format_message()), error.exit_code)
        return int(error.exit_code)
    except CkptconvError as error:
        return _fail(error, 2 if isinstance(error, UsageError) else 1)
    except OSError as error:  # such as of a working directory that was removed
        reason = error.strerror or type(error).__name__
        return _fail(ContainerError(reason, file=error.filename), 1)
    except MemoryError:
        return _fail(CkptconvError("out of memory"), 1)
    except (KeyboardInterrupt, typer.Abort):
        return 128 + signal.SIGINT
    return code if isinstance(code, int) else 0


def _has_output(command: Any) -> bool:
    return any(parameter.name == "output" for parameter in command.params)


def _fail(error: CkptconvError, code: int) -> int:
    from ckptconv.cli.tables import print_error

    print_error(error)
    _document(error, code)
    return code


def _document(error: CkptconvError, code: int) -> None:
    if "--json" in sys.argv:
        from ckptconv.cli.documents import error_document, print_json

        with suppress(CkptconvError):  # of the output, of which the error itself has been said
            print_json(error_document(error) | {"exit_code": code})
            sys.stdout.flush()


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """Leave through the exception path, so that temporary files are removed."""
    sys.unraisablehook = partial(_again, signum)
    raise KeyboardInterrupt if signum == signal.SIGINT else SystemExit(128 + signum)


def _again(signum: int, dropped: Any) -> None:
    """Send a signal once more whose exception Python dropped, as it does amid a destructor."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt | SystemExit):
        sys.__unraisablehook__(dropped)
        return
    main = threading.main_thread().ident
    kill: Any = getattr(signal, "pthread_kill", lambda _, number: signal.raise_signal(number))
    (timer := threading.Timer(_SOON, kill, (main, signum))).daemon = True
    timer.start()


class _Output(io.RawIOBase):
    """Standard output, which a reader may close early, and which may be a file on a full disk."""

    def __init__(self, raw: Any) -> None:
        self._raw, self._open = raw, True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def write(self, data: Any) -> Any:
        if not self._open:
            return len(data)
        try:
            return self._raw.write(data)
        except OSError as error:
            self._open = False  # or the interpreter would try again when it ends
            if error.errno in _CLOSED:
                return len(data)
            problem = f"standard output cannot be written: {error.strerror}"
            raise CkptconvError(problem) from None


def _open_closed() -> None:
    """Give standard files that are closed a place, before a checkpoint is opened in theirs."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if not _is_open(number):
            os.open(os.devnull, os.O_RDWR)  # takes the first number that is free
            file = io.TextIOWrapper(io.FileIO(number, "r" if number == 0 else "w", closefd=False))
            vars(sys).update({name: file, f"__{name}__": file})


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _prepare_output() -> None:
    codecs.register_error("ckptconv", _readable)
    plain = sys.stdout
    if isinstance(plain, io.TextIOWrapper):
        raw = getattr(plain.buffer, "raw", None)  # none where Python is told to buffer nothing
        output: Any = _Output(raw or plain.buffer)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(output) if raw else output,
            encoding=plain.encoding,
            errors="ckptconv",
            line_buffering=plain.line_buffering,
            write_through=raw is None,
        )
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="ckptconv")


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Write what the terminal's encoding lacks in its characters: ``->`` for ``→``."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    texts = (_WRITTEN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(texts), error.end
