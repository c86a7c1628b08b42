"""The source distribution: what the README's two commands need is in it, and they work from it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import HANGS, ROOT

LEFT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests")
BUILD = "import sys, setuptools.build_meta as b; b.build_sdist(sys.argv[1])"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    """Build the distribution from a copy of the tree, and unpack it in an empty folder."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("release")
    shutil.copytree(ROOT, folder / "tree", ignore=LEFT)
    shutil.copytree(ROOT / "tests", folder / "tree/tests", ignore=LEFT)
    run([sys.executable, "-c", BUILD, folder], folder / "tree")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "out", filter="data")
    (top,) = (folder / "out").iterdir()
    return top


def run(command: list[object], folder: Path, **environment: str) -> str:
    given = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | environment
    result = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=given,
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_it_holds_every_file_of_the_tree(unpacked: Path) -> None:
    for room in ("ckptconv", "docs", "samples", "tests"):
        for path in (ROOT / room).rglob("*"):
            place = path.relative_to(ROOT)
            hidden = any(part.startswith((".", "__pycache__")) for part in place.parts)
            if path.is_file() and not hidden:
                made = room == "samples" and path.suffix in (".ckpt", ".h5", ".safetensors")
                assert made or (unpacked / place).is_file(), place
    for name in ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        assert (unpacked / name).is_file()


def test_the_commands_of_the_readme(unpacked: Path) -> None:
    """Installed without its dependencies, which the environment has; a fast part of the tests."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    run([*pip, "--no-index", "--target", unpacked / "site", "."], unpacked)
    installed = {"PYTHONPATH": str(unpacked / "site")}
    script = [sys.executable, unpacked / "site/bin/ckptconv"]
    out = run([*script, "--version"], unpacked, **installed)
    (metadata,) = (unpacked / "site").glob("ckptconv-*.dist-info")
    assert out.split() == ["ckptconv", metadata.name.split("-")[1].removesuffix(".dist")]
    others = {
        p.name for p in (unpacked / "site/ckptconv").rglob("*") if p.suffix not in (".py", "")
    }
    assert {p for p in others if not p.endswith(".pyc")} == {
        "report.schema.json", "py.typed", "reserved.txt", "page.html"
    }  # fmt: skip
    out = run([*script, "torch2ms", "samples/tagger.pt"], unpacked, **installed)
    assert out.startswith("wrote samples/tagger.ckpt")
    fast = ("tests/test_architecture.py",)
    environment = {"PYTHONPATH": str(unpacked)}
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run([*pytest_, *fast], unpacked, **environment)
