"""Names that nn.Cell uses itself, as ``cells``, are no layer's in a network."""

from __future__ import annotations

import re

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn

import ckptconv
from ckptconv.dialects.own_attributes import CELL


def refused(name, value):
    try:
        setattr(nn.Cell(), name, value)
    except (KeyError, AttributeError, TypeError, ValueError, RuntimeError):
        return True
    return False


def test_the_names_are_those_that_a_cell_refuses():
    public = [name for name in dir(nn.Cell()) if not name.startswith("_")]
    assert {name for name in public if refused(name, nn.Dense(2, 2))} == CELL
    parameter = ms.Parameter(ms.Tensor([1.0]))
    assert {name for name in public if refused(name, parameter)} == CELL


def stacked():
    network = torch.nn.Module()
    network.cells = torch.nn.ModuleList([torch.nn.GRUCell(3, 4), torch.nn.GRUCell(4, 4)])
    network.phase = torch.nn.Linear(4, 2)
    return network


def test_the_advised_names_are_a_network_s(tmp_path):
    """What the note says, to the letter, gives what a network loads."""
    network = stacked()
    torch.save(network.state_dict(), tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    notes = [note for note in report.notes if "of their own" in note]
    assert [note.partition(":")[0] for note in notes] == ["cells.0, cells.1", "phase"]
    advised = [re.search(r"rename=(\{.*\}) gives", note)[1] for note in notes]
    rename = [pair for text in advised for pair in eval(text).items()]
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "n.ckpt", to="mindspore", rename=rename)
    assert not any("of their own" in note for note in report.notes)
    cell = nn.Cell()
    cell.cells_ = nn.CellList([nn.GRUCell(3, 4), nn.GRUCell(4, 4)])
    cell.phase_ = nn.Dense(4, 2)
    loaded = ms.load_checkpoint(str(tmp_path / "n.ckpt"))
    assert ms.load_param_into_net(cell, loaded, strict_load=True) == ([], [])
    expected = network.phase.weight.detach().numpy()
    np.testing.assert_array_equal(cell.phase_.weight.asnumpy(), expected)


@pytest.mark.parametrize("to", ["torch", "keras"])
def test_other_frameworks_have_such_names(tmp_path, to):
    torch.save(stacked().state_dict(), tmp_path / "m.pt")
    target = tmp_path / ("n.h5" if to == "keras" else "n.pt")
    report = ckptconv.convert(tmp_path / "m.pt", target, to=to)
    assert not any("of their own" in note for note in report.notes)


def test_a_target_network_has_its_own_names(tmp_path):
    cell = nn.Cell()
    cell.steps = nn.CellList([nn.GRUCell(3, 4), nn.GRUCell(4, 4)])
    cell.angle = nn.Dense(4, 2)
    ms.save_checkpoint(cell, str(tmp_path / "like.ckpt"))
    torch.save(stacked().state_dict(), tmp_path / "m.pt")
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "n.ckpt", to="mindspore", like=tmp_path / "like.ckpt"
    )
    assert not any("of their own" in note for note in report.notes)
