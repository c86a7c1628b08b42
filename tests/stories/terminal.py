"""A terminal with somebody in front of it, who types lines and reads what comes back."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COPIED = ("nn.", "left = ", "import ", "network", "  try ")
"""How lines begin that are to be copied, and may be longer than the screen."""


class Terminal:
    """A folder and a width; ``ckptconv`` is the command of this tree."""

    def __init__(self, folder: Path, columns: int) -> None:
        self.folder, self.columns = folder, columns
        programs = folder / ".bin"
        programs.mkdir()
        (programs / "ckptconv").write_text(f'#!/bin/sh\nexec {sys.executable} -m ckptconv "$@"\n')
        (programs / "ckptconv").chmod(0o755)
        gone = ("COLUMNS", "LINES", "NO_COLOR")
        self._given = {k: v for k, v in os.environ.items() if k not in gone} | {
            "PYTHONPATH": str(ROOT),
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "TERM": "xterm-256color",
        }

    def type(self, line: str, seen: Callable[[str], bool] | None = None, **given: str) -> Screen:
        """Run a line of shell; press Ctrl-C when ``seen`` says so of what is on the screen."""
        main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, self.columns, 0, 0))
        text = b""
        with subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.folder,
            env=self._given | given,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        ) as process:
            os.close(other)
            while part := _read(main):
                text += part
                if seen and seen(text.decode("utf-8", "replace")):
                    os.write(main, b"\x03")
                    seen = None
        os.close(main)
        return Screen(text, process.returncode, self.columns)


class Screen:
    """What a command left on the terminal, and its exit code."""

    def __init__(self, given: bytes, code: int, columns: int) -> None:
        self.bytes, self.code, self.columns = given, code, columns
        plain = _CONTROL.sub("", given.decode("utf-8", "replace")).replace("\r\n", "\n")
        self.lines = [line.rpartition("\r")[2] for line in plain.splitlines()]
        self.text = "\n".join(self.lines)
        assert "Traceback" not in self.text, self.text

    def fits(self) -> Screen:
        """Hold every line that is not to be copied against the width."""
        wide = [x for x in self.lines if len(x) > self.columns and not x.startswith(_COPIED)]
        assert not wide, wide
        return self

    def whole(self, *words: str) -> Screen:
        """Find words, each on one line."""
        for word in words:
            assert any(word in line for line in self.lines), (word, self.text)
        return self

    def tried(self, beginning: str = "") -> str:
        """Return what a refusal says to try, as somebody would copy it: to the end of the line."""
        (line,) = [x for x in self.lines if x.lstrip().startswith("try " + beginning)]
        copied = line.strip().removeprefix("try ")
        return shlex.join(shlex.split(copied))

    def copied(self, beginning: str) -> list[str]:
        """Return the lines that begin so."""
        return [line for line in self.lines if line.startswith(beginning)]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # how Linux says that the other side is closed
        return b""
