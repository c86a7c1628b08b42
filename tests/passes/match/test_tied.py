"""Targets that hold one tensor under several names: each gets values, or nothing is written."""

from __future__ import annotations

import pytest
import torch

import ckptconv


def files(tmp_path, source, target):
    torch.save(source, tmp_path / "source.pt")
    torch.save(target, tmp_path / "target.pt")
    return tmp_path / "source.pt", tmp_path / "target.pt"


@pytest.mark.parametrize("own", [{}, {"head.bias": torch.rand(7)}])
def test_what_no_module_of_the_source_has_is_not_left_out(own, tmp_path):
    tied = dict.fromkeys(("words.weight", "head.weight"), torch.rand(7, 4))
    there = {"fc.weight": torch.rand(3, 3), **own}
    source, target = files(tmp_path, there, {**there, **tied})
    with pytest.raises(ckptconv.CkptconvError, match=r"(?s)the source has no.*(words|7, 4)"):
        ckptconv.convert(source, tmp_path / "out.pt", to="torch", like=target)
    fill = {"words": "zeros", "head.weight": "ones"}
    report = ckptconv.convert(source, tmp_path / "out.pt", to="torch", like=target, fill=fill)
    assert torch.load(tmp_path / "out.pt").keys() == {*there, *tied}
    assert not report.notes


def test_another_name_of_a_bare_parameter_is_told(tmp_path):
    there = {"scale": torch.rand(4), "table": torch.rand(5, 4)}
    source, target = files(tmp_path, there, {"gain": torch.rand(4), "table": torch.rand(5, 4)})
    report = ckptconv.convert(source, tmp_path / "out.pt", to="torch", like=target)
    assert report.notes == ["like: scale → gain: the only one of its shape there"]
    torch.testing.assert_close(torch.load(tmp_path / "out.pt")["gain"], there["scale"])
