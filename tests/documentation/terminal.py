"""What stands in for a reader's terminal: one folder for each page, commands one after the other.

``ckptconv`` and ``python FILE`` run in this process, since a framework takes seconds to import;
everything else in a shell. The terminal is 80 columns wide, and has no colours and no cursor.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckptconv import cli
from tests.conftest import HANGS, ROOT

SETTINGS = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
_SHELL = re.compile(r"[|<>;&\n]")
_INSTALLS = re.compile(r"^(python3\S* -m venv|\S+/pip install) ")


class _Screen(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Terminal:
    """A shell and a Python session in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._session = types.ModuleType("__main__")

    def python(self, code: str, where: str) -> str:
        """Run code in the page's session; return what it prints."""
        for file in self._folder.glob("*.py"):
            if getattr(sys.modules.get(file.stem), "__file__", str(file)) != str(file):
                del sys.modules[file.stem]  # another page's
        with _undisturbed(self._folder), contextlib.redirect_stdout(_Screen()) as screen:
            sys.modules["__main__"] = self._session  # where pickle looks for classes
            exec(compile(code, where, "exec"), vars(self._session))
        return screen.getvalue()

    def run(self, command: str) -> str:
        """Run a command; return what it prints, and its exit code where that is not 0."""
        words = [] if _SHELL.search(command) else shlex.split(command)
        with _undisturbed(self._folder):
            if words[:1] == ["ckptconv"]:
                printed, code = _in_process(words, cli.main)
            elif words[:1] == ["python"] and words[1].endswith(".py"):
                script = words[1]
                printed, code = _in_process(
                    words[1:], lambda: runpy.run_path(script, run_name="__main__")
                )
            else:
                printed, code = self._shell(command)
        printed = re.sub(r" +$", "", printed, flags=re.MULTILINE).replace(f"{self._folder}/", "")
        return printed + (f"[exit code {code}]\n" if code else "")

    def installed(self, command: str) -> str:
        """Run a line that begins by making an environment: that one is there already."""
        parts = [part.strip() for part in command.split("&&")]
        kept = [part for part in parts if not _INSTALLS.match(part)]
        return "".join(self.run(re.sub(r"^\S+/bin/", "", part)) for part in kept)

    def _shell(self, command: str) -> tuple[str, int]:
        tools = self._folder / ".bin"
        if not tools.is_dir():
            tools.mkdir()
            for name, call in (("ckptconv", "-m ckptconv"), ("python", "")):
                (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {call} "$@"\n')
                (tools / name).chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command],
            env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=HANGS,
            check=False,
        )
        return done.stdout, done.returncode


def _in_process(words: list[str], call: Any) -> tuple[str, int]:
    screen, before = _Screen(), sys.argv
    sys.argv = words
    try:
        with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
            call()
    except SystemExit as end:
        return screen.getvalue(), end.code if isinstance(end.code, int) else int(bool(end.code))
    finally:
        sys.argv = before
    return screen.getvalue(), 0


@contextlib.contextmanager
def _undisturbed(folder: Path) -> Iterator[None]:
    """Work in a folder; afterwards the process is as a command found it."""
    commands = cli.app.registered_commands
    callbacks = [command.callback for command in commands]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    main = sys.modules["__main__"]
    there, paths, settings = os.getcwd(), list(sys.path), dict(os.environ)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ.update(SETTINGS)
    try:
        yield
    finally:
        for command, callback in zip(commands, callbacks, strict=True):
            command.callback = callback
        sys.modules["__main__"] = main
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.chdir(there)
        sys.path[:] = paths
        for name in {*os.environ, *settings}:  # and no more: threads of frameworks may read them
            if name not in settings:
                del os.environ[name]
            elif os.environ.get(name) != settings[name]:
                os.environ[name] = settings[name]


def forget(folder: Path) -> None:
    """Take the modules of a page out of the process: the next page has others of the same names."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(f"{folder}/"):
            del sys.modules[name]
