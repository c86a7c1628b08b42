"""Progress: every byte is counted, and what counts them is seen where somebody looks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import ckptconv
from tests.stories.terminal import Terminal


def linears(path: Path, size: int) -> int:
    """Save ten layers of size by size; return their bytes."""
    rng = np.random.default_rng(16)
    state = {f"fc.{i}.weight": rng.random((size, size), np.float32) for i in range(10)}
    state |= {f"fc.{i}.bias": rng.random(size, np.float32) for i in range(10)}
    save_file(state, path, {"format": "pt"})
    return sum(array.nbytes for array in state.values())


def test_every_byte_is_counted_once_a_pass(tmp_path: Path) -> None:
    size = linears(tmp_path / "a.safetensors", 700)
    source, target = tmp_path / "a.safetensors", tmp_path / "a.ckpt"
    ckptconv.convert(source, target, to="mindspore")
    counted: list[int] = []
    assert ckptconv.diff(source, source, progress=counted.append).ok
    assert ckptconv.diff(source, target, progress=counted.append).ok
    assert sum(counted) == 2 * size
    counted.clear()
    assert ckptconv.verify(source, target, progress=counted.append).ok
    assert sum(counted) == 2 * size
    counted.clear()
    assert ckptconv.roundtrip(source, via="mindspore", progress=counted.append).ok
    assert 3 * size <= sum(counted) < 3.01 * size  # two files, with what stands around the weights


def test_a_bar_with_rate_and_time_left_on_a_terminal_alone(tmp_path: Path) -> None:
    linears(tmp_path / "big.safetensors", 1340)
    terminal = Terminal(tmp_path, 80)
    for command in (
        "torch2ms big.safetensors -o big.ckpt",
        "diff big.safetensors big.safetensors",
        "verify big.safetensors big.ckpt",
        "roundtrip big.safetensors --via ms",
    ):
        seen = terminal.type(f"ckptconv {command}")
        assert seen.code == 0, seen.text
        assert re.search(rb" [MG]B/s\S* \S*0:00:0", seen.bytes), command
        assert "B/s" not in seen.fits().lines[-1]
    for quiet in ("-q", "2> log", "2> log | cat", "# TERM=dumb"):
        term = {"TERM": "dumb"} if "dumb" in quiet else {}
        seen = terminal.type(f"ckptconv diff big.safetensors big.safetensors {quiet}", **term)
        assert not re.search(rb"B/s|\x1b|^\s", seen.bytes)
    assert (tmp_path / "log").read_bytes() == b""


@pytest.mark.parametrize("source", ["big.json", "nothing.json", "no.tar.gz:x"])
def test_what_cannot_be_read_says_so_once(tmp_path: Path, source: str) -> None:
    (tmp_path / "big.json").write_text('{"weight_map": {"a": "nowhere.safetensors"}}')
    seen = Terminal(tmp_path, 80).type(f"ckptconv torch2ms {source} -o x.ckpt").fits()
    assert seen.code == 1
    assert seen.text.count("ckptconv: ") == 1
