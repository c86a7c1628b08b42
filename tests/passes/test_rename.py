"""--rename: rules on paths, whoever chose the names."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

import ckptconv


@pytest.fixture
def hostile(tmp_path):
    """A file whose names make a pattern try every way of cutting them."""
    weights = {"a" * 4000 + "!.weight": np.ones((2, 3), "f4"), "b.weight": np.ones((2, 3), "f4")}
    save_file(weights, tmp_path / "m.safetensors", {"format": "pt"})
    return tmp_path / "m.safetensors"


def test_groups_and_order(hostile):
    graph = ckptconv.load(hostile, rename=[("^a+(!)$", r"x\1"), ("!$", ""), ("^b", r"\g<0>_1")])
    assert [layer.path for layer in graph] == ["x", "b_1"]


def test_a_pattern_that_takes_too_long_is_stopped(hostile):
    with pytest.raises(ckptconv.CkptconvError, match=r"takes more than 2 s; try a pattern"):
        ckptconv.load(hostile, rename={"(a|a)*$": "x"})


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "(?P<1>x)"])
def test_no_pattern(hostile, pattern):
    with pytest.raises(ckptconv.UsageError, match="not a regular expression"):
        ckptconv.load(hostile, rename={pattern: "x"})


def test_a_group_that_is_not_there(hostile):
    with pytest.raises(ckptconv.UsageError, match="not a regular expression"):
        ckptconv.load(hostile, rename={"^a": r"\1"})


def test_the_root_gets_a_name(tmp_path):
    save_file({"weight": np.ones((2, 3), "f4")}, tmp_path / "m.safetensors", {"format": "pt"})
    graph = ckptconv.load(tmp_path / "m.safetensors", rename={"^": "net."})
    assert [layer.full_name("weight") for layer in graph] == ["net.weight"]


@pytest.mark.parametrize(("pattern", "text"), [("^b", ""), ("^b", "x."), ("^b", "a..c")])
def test_a_path_with_nothing_between_its_dots(tmp_path, pattern, text):
    save_file({"b.c.weight": np.ones((2, 3), "f4")}, tmp_path / "m.safetensors", {"format": "pt"})
    with pytest.raises(ckptconv.DialectError, match="nothing between dots") as told:
        ckptconv.load(tmp_path / "m.safetensors", rename={pattern: text})
    assert ("try rename={'^b[.]': ''}" in str(told.value)) == (not text)


@pytest.mark.parametrize("moved", [{"rename": {"^old": "new"}}, {"map": {"old": "new"}}])
def test_what_is_advised_for_a_moved_module_helps(tmp_path, moved):
    import torch

    torch.save({"old.weight": torch.randn(4, 4)}, tmp_path / "m.pt")
    with pytest.raises(ckptconv.CkptconvError, match=r"old: the file does not tell") as told:
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.h5", to="keras", **moved)
    assert "kinds={'old': 'Linear'}" in str(told.value)
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.h5", to="keras", kinds={"old": "Linear"}, **moved
    )
    assert [(layer.path, layer.kind) for layer in report.layers] == [("new", "Linear")]
