"""verify names layers of equal structure that stand in another order than the source's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ckptconv
from tests import networks as n


@pytest.fixture
def three(tmp_path):
    module = n.fill(nn.ModuleDict({f"l{i}": nn.Linear(4, 4) for i in (1, 2, 3)}))
    state = module.state_dict()
    torch.save(state, tmp_path / "m.pt")

    def renamed(**names):
        moved = {
            f"{names[k[:2]]}{k[2:]}": state[k] for k in sorted(state, key=lambda k: names[k[:2]])
        }
        torch.save(moved, tmp_path / "other.pt")
        return ckptconv.verify(tmp_path / "m.pt", tmp_path / "other.pt")

    return renamed


def test_the_same_order_needs_no_word(three):
    report = three(l1="a1", l2="a2", l3="a3")
    assert report.ok
    assert not [note for note in report.notes if "stands where" in note]


def test_exchanged_values_under_the_same_names(three):
    report = three(l1="l3", l2="l2", l3="l1")
    assert not report.ok
    causes = {result.source: result.cause for result in report.layers}
    assert causes["l1"] == "the same weights, but l3 stands where l1 did (l1)"
    assert causes["l3"] == "the same weights, but l1 stands where l3 did (l3)"
    assert causes["l2"] == "every weight has the same value"


def test_equal_values_in_another_order(tmp_path):
    state = n.fill(nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))).state_dict()
    source = {f"{2 * int(k[0])}{k[1:]}": v for k, v in state.items()}  # 0, 2, 4
    target = {f"{dict(zip('024', '021', strict=True))[k[0]]}{k[1:]}": v for k, v in source.items()}
    torch.save(source, tmp_path / "m.pt")
    torch.save(dict(sorted(target.items())), tmp_path / "other.pt")
    report = ckptconv.verify(tmp_path / "m.pt", tmp_path / "other.pt")
    assert report.ok
    assert "the same weights, but 4 stands where 2 did (1)" in report.notes
    assert "the same weights, but 2 stands where 4 did (2)" in report.notes
