"""A signal amid a close: no descriptor is closed twice, since its number may be another file's."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest

from ckptconv.io import platform
from ckptconv.io.atomic import atomic_path
from ckptconv.io.reader import File, Owner


class Interrupted:
    """``os.close``, amid which a signal comes."""

    def __init__(self) -> None:
        self.closed, self._close = list[int](), os.close

    def __call__(self, fd: int) -> None:
        self.closed.append(fd)
        self._close(fd)
        raise KeyboardInterrupt


def test_a_file_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    file, close = File(tmp_path / "x"), Interrupted()
    with mock.patch.object(Owner, "_close", close), pytest.raises(KeyboardInterrupt):
        file.close()
    file.close()
    assert len(close.closed) == 1


def test_a_file_that_is_written(tmp_path: Path) -> None:
    """Where open files stay, it is closed before it takes its name."""
    close = Interrupted()
    with (
        mock.patch.object(platform, "OPEN_FILES_STAY", True),
        mock.patch.object(os, "close", close),
        pytest.raises(KeyboardInterrupt),
        atomic_path(tmp_path / "x", force=False, durable=False),
    ):
        pass
    assert len(close.closed) == 1
    assert os.listdir(tmp_path) == []
