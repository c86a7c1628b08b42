"""Systems without Linux's calls, as far as they can be had here: the calls are taken away.

What is left out with each system is a fact of Python's documentation of ``os`` and ``fcntl``; that
Windows moves and removes no open file is made up from ``/proc/self/fd``.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANGS, ROOT

WINDOWS = """
import os, pathlib, sys  # pathlib of 3.10 would make methods of the functions that follow
sys.modules["fcntl"] = None
for name in ("preadv", "pwritev", "pread", "pwrite", "posix_fadvise", "posix_fallocate", "sendfile",
             "copy_file_range", "O_CLOEXEC", "O_NONBLOCK", "O_NOFOLLOW", "O_DIRECTORY", "O_SYNC",
             "link", "getuid", "geteuid", "fork", "fchmod", "register_at_fork"):
    if hasattr(os, name):
        delattr(os, name)
from ckptconv.io import platform
platform.OPEN_FILES_STAY = True

def is_open(path):
    held = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return os.path.realpath(path) in {os.path.realpath(fd) for fd in held if os.path.exists(fd)}

def guarded(plain):
    def call(path, *rest):
        if is_open(path):
            raise PermissionError(13, "The process cannot access the file", path)
        if plain.__name__ == "rename" and os.path.lexists(rest[0]):
            raise FileExistsError(17, "File exists", rest[0])
        return plain(path, *rest)
    return call

plain_open = os.open
def open_(path, *rest):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", path)
    return plain_open(path, *rest)

for name in ("rename", "replace", "unlink"):
    setattr(os, name, guarded(getattr(os, name)))
os.open = open_
"""
MACOS = """
import fcntl, os
fcntl.F_FULLFSYNC, flushed = 51, []
plain = fcntl.fcntl
def fcntl_(fd, what, *rest):
    return flushed.append(fd) or 0 if what == 51 else plain(fd, what, *rest)
fcntl.fcntl = fcntl_
for name in ("posix_fadvise", "posix_fallocate", "copy_file_range", "preadv", "pwritev"):
    if hasattr(os, name):
        delattr(os, name)
"""
STORY = """
import pathlib
import ckptconv
from ckptconv.batch import find
from ckptconv.io.atomic import atomic_path

sample, folder = map(pathlib.Path, sys.argv[1:])
given, kinds = sample.read_bytes(), {"norm": "LayerNorm"}
(folder / "in").mkdir()
for name in ("a.pt", "b.pt"):
    (folder / "in" / name).write_bytes(given)
for target, to in (("m.ckpt", "mindspore"), ("k.weights.h5", "keras"), ("k.h5", "keras"),
                   ("t.pt", "torch"), ("s.safetensors", "mindspore")):
    ckptconv.convert(sample, folder / target, to=to, kinds=kinds, check=True)
    ckptconv.convert(sample, folder / target, to=to, kinds=kinds, force=True)
    try:
        ckptconv.convert(sample, folder / target, to=to, kinds=kinds)
    except ckptconv.ContainerError as error:
        assert "exists already" in str(error), error
    else:
        raise AssertionError("replaced")
assert ckptconv.diff(sample, folder / "m.ckpt").ok
assert ckptconv.diff(sample, folder / "t.pt").ok
outcomes = ckptconv.convert_many(find(folder / "in", folder / "out", ".ckpt"), to="mindspore")
assert [outcome.status for outcome in outcomes] == ["converted", "converted"], outcomes
assert (folder / "out/a.ckpt").read_bytes() == (folder / "m.ckpt").read_bytes()
left = folder / ".x.0.part"
left.write_bytes(b"of a killed run")
with atomic_path(folder / "x", force=False) as temporary:
    pathlib.Path(temporary).write_bytes(b"whole")
    with atomic_path(folder / "x", force=True) as second:
        pathlib.Path(second).write_bytes(b"second")
        assert os.path.exists(temporary)
    os.unlink(folder / "x")
assert (folder / "x").read_bytes() == b"whole"
try:
    with atomic_path(folder / "y", force=False) as temporary:
        raise KeyError
except KeyError:
    assert not os.path.exists(temporary)
assert left.exists() == LEFT_STAYS
left.unlink(missing_ok=True)
assert not [name for name in os.listdir(folder) if name.endswith(".part")]
"""
WITHOUT_LOCKS = "import sys, os\nsys.modules['fcntl'] = None\ndel os.link\n"
SYSTEMS = {
    "windows": WINDOWS + STORY.replace("LEFT_STAYS", "False"),
    "macos": "import sys\n" + MACOS + STORY.replace("LEFT_STAYS", "False") + "assert flushed\n",
    "neither locks nor links": WITHOUT_LOCKS + STORY.replace("LEFT_STAYS", "True"),
}
ONLY_THERE = {
    "fcntl", "msvcrt", "preadv", "pwritev", "pread", "pwrite", "posix_fadvise", "link", "fsync",
    "O_CLOEXEC", "O_NONBLOCK", "O_NOFOLLOW", "O_BINARY", "fork", "getuid", "mmap",
}  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks which files are open")
@pytest.mark.parametrize("system", SYSTEMS)
def test_conversions_batch_and_the_atomic_writer(
    system: str, samples: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", SYSTEMS[system], samples / "tagger.pt", tmp_path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANGS)
    assert (result.returncode, result.stderr) == (0, "")


def test_nothing_else_knows_of_systems() -> None:
    for path in sorted((ROOT / "ckptconv").rglob("*.py")):
        if path.parts[-2:] == ("io", "platform.py"):
            continue
        tree = ast.parse(path.read_text("utf-8"))
        statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
        imported = {alias.name for node in statements for alias in node.names}
        of_os = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        }
        assert not (imported | of_os) & ONLY_THERE, path
