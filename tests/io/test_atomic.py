"""A target's name: when it is there, what is synced before, and whose temporary file is whose."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from unittest import mock

import pytest

from ckptconv.io import platform
from ckptconv.io.atomic import atomic_path
from tests.sudden_death import leftovers


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, force: bool, durable: bool
) -> None:
    """And then its name is, which stands in the folder."""
    target, seen, plain = tmp_path / "x.pt", [], platform._flush

    def flush(file: int) -> None:
        seen.append((os.fstat(file).st_ino, target.exists()))
        plain(file)

    with (
        mock.patch.object(platform, "_flush", flush),
        atomic_path(target, force=force, durable=durable) as temporary,
    ):
        Path(temporary).write_bytes(b"whole")
    expected = [(target.stat().st_ino, False), (tmp_path.stat().st_ino, True)]
    assert seen == (expected if durable else [])


def test_a_link_stays_one_and_what_it_names_is_written(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    held, link = tmp_path / "there" / "held.pt", tmp_path / "x.pt"
    held.write_bytes(b"old")
    link.symlink_to(held)
    with atomic_path(link, force=True) as temporary:
        assert Path(temporary).parent == held.parent
        Path(temporary).write_bytes(b"whole")
    assert link.is_symlink()
    assert held.read_bytes() == b"whole"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["held.pt", "there", "x.pt"]


def test_a_name_that_went_over_to_another_run_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / ".x.pt.0.part"
    path.write_bytes(b"of a run that is about to end")
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        path.rename(tmp_path / "x.pt")  # the run ends, and the next takes its name
        path.write_bytes(b"of the next run")
        lock(file, how)

    with mock.patch("fcntl.flock", late), pytest.raises(OSError, match="unavailable"):
        platform.remove_unheld(str(path))
    assert path.read_bytes() == b"of the next run"


def test_a_folder_of_many_files_is_not_listed(tmp_path: Path) -> None:
    with (
        mock.patch("os.listdir", side_effect=AssertionError),
        mock.patch("os.scandir", side_effect=AssertionError),
        atomic_path(tmp_path / "x.pt", force=False) as temporary,
    ):
        Path(temporary).write_bytes(b"whole")
    assert leftovers(tmp_path) == []
    assert (tmp_path / "x.pt").read_bytes() == b"whole"
