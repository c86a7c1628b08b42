"""What needs no framework, run where none is: every format, every command, any numpy.

With ``test_platform.py`` and ``test_architecture.py`` the part of the tests for a Python or a
system on which no framework can be installed, and for the lowest versions of the dependencies.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ckptconv
from ckptconv.dialects import DIALECTS
from tests.conftest import ROOT

KINDS = {"norm": "LayerNorm"}
TARGETS = [(row.name, suffix) for row in DIALECTS.values() for suffix in row.suffixes]


@pytest.fixture
def tagger(samples: Path, tmp_path: Path) -> Path:
    path = tmp_path / "tagger.pt"
    path.write_bytes((samples / "tagger.pt").read_bytes())
    return path


@pytest.mark.parametrize(("to", "suffix"), TARGETS)
def test_every_format_holds_the_same_values(tagger: Path, to: str, suffix: str) -> None:
    target = tagger.with_name(f"target{suffix}")
    ckptconv.convert(tagger, target, to=to, kinds=KINDS, check=True)
    reading = {"kinds": KINDS, "target_kinds": KINDS if to in ("torch", "mint") else ()}
    assert ckptconv.diff(tagger, target, **reading).ok
    assert ckptconv.verify(tagger, target, **reading).ok


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_every_dtype(tagger: Path, dtype: str) -> None:
    for suffix in (".ckpt", ".safetensors"):
        report = ckptconv.convert(tagger, tagger.with_suffix(suffix), to="mindspore", dtype=dtype)
        assert {entry.dtype for entry in report.tensors} == {dtype}
    one, other = (tagger.with_suffix(suffix) for suffix in (".ckpt", ".safetensors"))
    assert ckptconv.diff(one, other).ok


@pytest.mark.parametrize(
    ("name", "allow"),
    [
        ("keras122_default_full", ["hard_sigmoid"]),
        ("keras224_cudnn_full", []),
        ("tf212_main_full", []),
        ("tfkeras221_main_full", []),
    ],
)
def test_files_of_old_keras(name: str, allow: list[str], tmp_path: Path) -> None:
    path, target = ROOT / f"tests/golden/keras/{name}.h5", tmp_path / "target.ckpt"
    ckptconv.convert(path, target, to="mindspore", allow=allow)
    assert ckptconv.diff(path, target, allow=allow).ok


COMMANDS = (
    "--version",
    "formats",
    "torch2ms tagger.pt --check --report report.json",
    "torch2keras tagger.pt",
    "ms2torch tagger.ckpt -o back.pt",
    "keras2ms tagger.h5 -o keras.ckpt --kind norm=LayerNorm",
    "inspect tagger.pt tagger.ckpt tagger.h5",
    "match tagger.pt tagger.ckpt -o map.toml",
    "diff tagger.pt back.pt --kind norm=LayerNorm --target-kind norm=LayerNorm",
    "verify tagger.pt tagger.ckpt --html page.html",
    "golden tagger.pt -o vectors.npz",
    "replay tagger.ckpt vectors.npz --reference",
    "roundtrip tagger.pt --via mindspore",
    "batch in out --to ms --jobs 2",
)


def test_every_command(tagger: Path) -> None:
    given = os.environ | {"PYTHONPATH": str(ROOT)}
    for name in "ab":
        (tagger.parent / "in" / name).mkdir(parents=True)
        (tagger.parent / "in" / name / "m.pt").write_bytes(tagger.read_bytes())
    for command in COMMANDS:
        result = subprocess.run(
            [sys.executable, "-m", "ckptconv", *command.split()],
            cwd=tagger.parent,
            env=given,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, (command, result.stdout, result.stderr)
    assert json.loads((tagger.parent / "report.json").read_text())["written"]
    assert "<svg" in (tagger.parent / "page.html").read_text("utf-8")
