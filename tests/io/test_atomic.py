"""A target's name: when it is there, what is synced before, and whose temporary file is whose."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from ckptconv.io import platform
from ckptconv.io.atomic import Files, atomic_path
from tests.sudden_death import leftovers


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[list[tuple[int, list[str]]]]:
    """Note what is synced, and which names stood in the folder then."""
    seen, plain = list[tuple[int, list[str]]](), platform.sync

    def sync(file: int) -> None:
        names = sorted(name for name in os.listdir(tmp_path) if not name.startswith("."))
        seen.append((os.fstat(file).st_ino, names))
        plain(file)

    with mock.patch.object(platform, "sync", sync):
        yield seen


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, force: bool, durable: bool, seen: list[tuple[int, list[str]]]
) -> None:
    """And then its name is, which stands in the folder."""
    target = tmp_path / "x.pt"
    with atomic_path(target, force=force, durable=durable) as temporary:
        Path(temporary).write_bytes(b"whole")
    expected = [(target.stat().st_ino, []), (tmp_path.stat().st_ino, ["x.pt"])]
    assert seen == (expected if durable else [])


def test_files_that_wait_for_each_other(tmp_path: Path, seen: list[tuple[int, list[str]]]) -> None:
    """Each is on the disk before it has its name, and their folder is synced once."""
    paths = [tmp_path / name for name in ("a.pt", "b.pt")]
    with closing(Files()) as files:
        with files.gathered():
            for path in paths:
                with atomic_path(path, force=False) as temporary:
                    Path(temporary).write_bytes(b"whole")
            failing = atomic_path(tmp_path / "c.pt", force=False)
            with pytest.raises(ValueError, match="half"), failing:
                raise ValueError("half")
        assert [path.exists() for path in paths] == [False, False]
        with atomic_path(tmp_path / "d.pt", force=False, durable=False):
            pass
        assert (tmp_path / "d.pt").exists()  # which was not gathered
        files.take_names()
        files.sync_folders(set())
    first, second = (path.stat().st_ino for path in paths)
    names = ["a.pt", "b.pt", "d.pt"]
    inodes = [first, second, tmp_path.stat().st_ino]
    assert seen == [*zip(inodes, (names[2:], names[::2], names), strict=True)]
    assert leftovers(tmp_path) == []


def test_the_disk_works_on_files_that_wait(tmp_path: Path) -> None:
    """What is synced later is then there already."""
    with (
        mock.patch.object(platform, "leave_cache") as begun,
        closing(Files()) as files,
        files.gathered(),
    ):
        for name in ("a.pt", "b.pt"):
            with atomic_path(tmp_path / name, force=False):
                assert begun.call_count == (name == "b.pt")
        with atomic_path(tmp_path / "c.pt", force=False, durable=False):
            pass
    assert begun.call_count == 2


def test_files_that_were_not_named_are_gone(tmp_path: Path) -> None:
    with closing(Files()) as files, files.gathered():
        with atomic_path(tmp_path / "a.pt", force=False):
            pass
        (tmp_path / "b.pt").write_bytes(b"old")
        with atomic_path(tmp_path / "b.pt", force=True) as temporary:
            Path(temporary).write_bytes(b"new")
        assert len(leftovers(tmp_path)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["b.pt"]
    assert (tmp_path / "b.pt").read_bytes() == b"old"


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
