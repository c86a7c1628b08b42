"""Whatever ends a conversion, the target is the old file or the whole new one."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from ckptconv import api, formats
from ckptconv.checkpoint import Checkpoint
from ckptconv.errors import ContainerError
from ckptconv.formats import safetensors
from ckptconv.io import platform
from ckptconv.io.atomic import atomic_path
from ckptconv.io.reader import File
from ckptconv.tensors.tensor import ArrayTensor
from tests.sudden_death import (
    ROOT,
    TARGETS,
    digest,
    kill_at_random,
    leftovers,
    make_source,
    start,
)

targets = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.safetensors"
    make_source(path, 4)
    return path


def convert(source: Path, name: str, **options: object) -> None:
    api.convert(source, source.with_name(name), to=TARGETS[name], **options)


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """``python -m tests.sudden_death`` does it 300 times."""
    seen = kill_at_random(tmp_path, kills=6, megabytes=8)
    assert seen["killed"] == 6


@targets
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_removes_the_temporary_file(tmp_path: Path, name: str, stop: int) -> None:
    """The signal comes when the temporary file is there."""
    source, target = tmp_path / "source.safetensors", tmp_path / name
    make_source(source, 32)
    target.write_bytes(b"old")
    run = start(source, target, "--force")
    while not leftovers(tmp_path) and run.poll() is None:
        pass
    run.send_signal(stop)
    code = run.wait()
    assert not leftovers(tmp_path)
    assert code in (0, 128 + stop)
    assert code != 0 or target.stat().st_size > 3
    assert code == 0 or target.read_bytes() == b"old"


def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    source, target = tmp_path / "source.safetensors", tmp_path / next(iter(TARGETS))
    make_source(source, 32)
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup hands it on
    try:
        run = start(source, target)
    finally:
        signal.signal(signal.SIGHUP, handler)
    while not leftovers(tmp_path) and run.poll() is None:
        pass
    run.send_signal(signal.SIGHUP)
    assert run.wait() == 0
    assert target.exists()


@pytest.mark.parametrize("where", ["os.open", "fcntl.flock"])
def test_an_interrupt_while_the_temporary_file_is_made_removes_it(tmp_path, where):
    """Then nobody knows its descriptor yet, or it is locked by one that nobody knows."""
    module, _, function = where.partition(".")
    owner = {"os": os, "fcntl": fcntl}[module]
    real, stops = getattr(owner, function), [KeyboardInterrupt]

    def stopped(*args):
        result = real(*args)
        if stops and (len(args) == 3 or owner is fcntl):
            raise stops.pop()
        return result

    with (
        mock.patch.object(owner, function, stopped),
        pytest.raises(KeyboardInterrupt),
        atomic_path(tmp_path / "x.pt", force=True),
    ):
        pass
    assert not leftovers(tmp_path)


def limited(source: Path, name: str, size: int) -> subprocess.CompletedProcess[str]:
    """Convert in a process that may not write files over ``size`` bytes."""
    command = [sys.executable, "-m", "ckptconv", "convert", source, source.with_name(name)]
    return subprocess.run(
        [*map(str, command), "--to", TARGETS[name]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


@targets
@pytest.mark.parametrize("size", [100, 1 << 20])
def test_a_limit_of_file_sizes(source: Path, name: str, size: int) -> None:
    run = limited(source, name, size)
    target = source.with_name(name)
    assert run.returncode == 1
    assert run.stderr.startswith(f"ckptconv: {target}: cannot be written: ")
    assert run.stderr.count("\n") == 1
    assert [path.name for path in source.parent.iterdir()] == [source.name]


@targets
def test_a_full_disk(source: Path, name: str) -> None:
    target = source.with_name(name)
    target.write_bytes(b"old")
    plain, room = platform.pwrite, [1 << 20]

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        if offset + len(data) > room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return plain(fd, data, offset)

    with (
        mock.patch.object(platform, "pwrite", pwrite),
        pytest.raises(ContainerError, match=f"{name}: cannot be written: No space left on device"),
    ):
        convert(source, name, force=True)
    assert target.read_bytes() == b"old"
    assert not leftovers(source.parent)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Mount a file system of 2 MiB; where that is not allowed, no file may be longer."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and not subprocess.run(mount, capture_output=True).returncode
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        if not mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)


@targets
def test_a_file_system_that_is_full(tmp_path: Path, source: Path, name: str) -> None:
    disk = tmp_path / "disk"
    with full_disk(disk):
        with pytest.raises(ContainerError, match=f"{name}: cannot be written: "):
            api.convert(source, disk / name, to=TARGETS[name])
        assert list(disk.iterdir()) == []


def test_a_folder_that_cannot_be_written(source: Path) -> None:
    folder = source.parent / "closed"
    folder.mkdir(mode=0o500)
    reason = OSError(errno.EACCES, os.strerror(errno.EACCES))
    plain = os.open

    def refuse(path: str, flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_CREAT and str(path).startswith(str(folder)):
            raise reason  # root may write everywhere
        return plain(path, flags, *rest, **more)

    with (
        mock.patch.object(os, "open", refuse),
        pytest.raises(ContainerError, match=r"x\.ckpt: cannot be written: Permission denied"),
    ):
        api.convert(source, folder / "x.ckpt", to="mindspore")
    assert list(folder.iterdir()) == []


@targets
def test_a_missing_folder(source: Path, name: str) -> None:
    with pytest.raises(ContainerError, match="cannot be written: No such file or directory"):
        api.convert(source, source.parent / "none" / name, to=TARGETS[name])


@targets
@pytest.mark.parametrize("change", ["truncated", "changed", "replaced"])
def test_a_source_that_changes_meanwhile(source: Path, name: str, change: str) -> None:
    graph = api.load(source)
    if change == "truncated":
        os.truncate(source, 1 << 20)
    elif change == "changed":
        with open(source, "r+b") as file:
            file.seek(1 << 20)
            file.write(b"other")
        os.utime(source, ns=(1, 1))
    else:
        os.utime(source, ns=(1, 1))
    with pytest.raises(ContainerError, match=r"the file was (changed|truncated) while being read"):
        api.save(graph, source.with_name(name), to=TARGETS[name])
    assert [path.name for path in source.parent.iterdir()] == [source.name]


@targets
@pytest.mark.parametrize("force", [False, True])
def test_two_conversions_to_one_target(source: Path, name: str, force: bool) -> None:
    """Both write at once; without --force the second to end is refused."""
    target, errors = source.with_name(name), []
    barrier = threading.Barrier(2)
    plain = formats.check_target

    def together(*args: object, **options: object) -> None:
        plain(*args, **options)
        barrier.wait()

    def run() -> None:
        try:
            convert(source, name, force=force)
        except ContainerError as error:
            errors.append(str(error))

    with mock.patch.object(formats, "check_target", together):
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(errors) == (0 if force else 1)
    assert all("exists already; try force=True; it replaces the file" in text for text in errors)
    found = digest(target)
    convert(source, name, force=True)
    assert digest(target) == found
    assert not leftovers(source.parent)


def test_stale_temporary_files_are_removed_and_live_ones_are_not(tmp_path: Path) -> None:
    target = tmp_path / "x[1].pt"
    stale, other = tmp_path / ".x[1].pt.2.part", tmp_path / ".x.pt.0.part"
    live = tmp_path / ".x[1].pt.0.part"
    for path in (stale, other, live, tmp_path / ".x[1].pt.1.part"):
        path.write_bytes(b"half")
    with open(live) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with atomic_path(target, force=False) as temporary:
            Path(temporary).write_bytes(b"whole")
            assert not stale.exists()
            with atomic_path(target, force=True) as second:
                Path(second).write_bytes(b"second")
                assert os.path.exists(temporary)
            target.unlink()
    assert target.read_bytes() == b"whole"
    assert leftovers(tmp_path) == sorted([live, other])


def test_a_temporary_file_that_another_run_takes_for_a_stale_one(tmp_path: Path) -> None:
    """It happens between the moment it is made and the moment it is locked."""
    target, plain, taken = tmp_path / "x.pt", fcntl.flock, []

    def flock(file: int, operation: int) -> None:
        if not taken:
            taken.append(os.readlink(f"/proc/self/fd/{file}"))
            os.unlink(taken[0])
        plain(file, operation)

    with (
        mock.patch.object(fcntl, "flock", flock),
        atomic_path(target, force=False) as temporary,
    ):
        Path(temporary).write_bytes(b"whole")
    assert taken == [temporary]
    assert target.read_bytes() == b"whole"


def test_where_there_are_no_hard_links(tmp_path: Path) -> None:
    target = tmp_path / "x.pt"
    refused = mock.patch.object(os, "link", side_effect=OSError(errno.EPERM, "not permitted"))
    with refused, atomic_path(target, force=False) as temporary:
        Path(temporary).write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    with (
        refused,
        pytest.raises(ContainerError, match="exists already"),
        atomic_path(target, force=False),
    ):
        pass
    assert leftovers(tmp_path) == []


@targets
def test_what_was_written_is_checked(source: Path, name: str) -> None:
    convert(source, name, check=True)
    whole = digest(source.with_name(name))
    convert(source, name, check=True, force=True)
    assert digest(source.with_name(name)) == whole


@targets
def test_a_write_that_went_wrong_is_found(source: Path, name: str) -> None:
    """One bit of the values flips on the way to the disk."""
    plain, seen = platform.pwrite, []

    def pwrite(fd: int, data: memoryview, offset: int) -> int:
        if len(data) > 1 << 16 and not seen:
            seen.append(offset)
            data[-1] ^= 1
        return plain(fd, data, offset)

    with (
        mock.patch.object(platform, "pwrite", pwrite),
        pytest.raises(ContainerError, match=r"what was written is not what was meant|damaged"),
    ):
        convert(source, name, check=True)
    assert [path.name for path in source.parent.iterdir()] == [source.name]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda c: c.tensors.pop("a"), "a: .*other names.*not meant"),
        (lambda c: c.tensors.update(c=c.tensors["a"]), "c: .*other names.*missing"),
        (lambda c: c.tensors.update(a=ArrayTensor(np.ones((3, 1)))), "a: .*other shape"),
        (lambda c: c.tensors.update(a=ArrayTensor(np.ones((1, 3), "f4"))), "a: .*other dtype"),
        (lambda c: c.tensors.update(a=c.tensors["b"]), "a: .*other values"),
        (
            lambda c: object.__setattr__(c, "format", "torch-zip"),
            ".*other format: expected torch-zip",
        ),
    ],
)
def test_each_difference_is_named(tmp_path: Path, change: object, problem: str) -> None:
    meant = Checkpoint(
        "safetensors",
        {"a": ArrayTensor(np.ones((1, 3))), "b": ArrayTensor(np.full((1, 3), 2.0))},
    )
    plain = safetensors.write

    def write(checkpoint: Checkpoint, path: str, progress: object) -> None:
        plain(checkpoint, path, progress)
        change(checkpoint)

    target = tmp_path / "x.safetensors"
    with (
        mock.patch.object(safetensors, "write", write),
        pytest.raises(ContainerError, match=f"{target}: {problem}"),
    ):
        formats.write(meant, target, check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_read(source: Path) -> None:
    failing = mock.patch.object(
        platform, "preadv", side_effect=OSError(errno.EIO, "Input/output error")
    )
    with failing, pytest.raises(ContainerError, match=f"{source}: cannot be read: Input/output"):
        File(source).read(0, 10)
