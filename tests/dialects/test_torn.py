"""A recurrent layer of which one parameter is missing: it is named, with the shape that it has."""

from __future__ import annotations

import re

import pytest
import torch

import ckptconv

LAYERS = {
    "LSTM": torch.nn.LSTM(3, 4),
    "GRU": torch.nn.GRU(3, 4, num_layers=2, bidirectional=True),
    "RNN": torch.nn.RNN(3, 4, num_layers=2, bias=False),
    "projected": torch.nn.LSTM(3, 4, proj_size=2, bidirectional=True),
    "LSTMCell": torch.nn.LSTMCell(3, 4),
    "GRUCell": torch.nn.GRUCell(3, 4),
}
CASES = [
    (kind, name)
    for kind, layer in LAYERS.items()
    for name in layer.state_dict()
    if name not in ("weight_hh", "weight_hr_l0")  # without which the rest is another whole thing
]


@pytest.mark.parametrize(("kind", "lost"), CASES)
def test_the_parameter_that_is_missing_is_named(kind, lost, tmp_path):
    state = LAYERS[kind].state_dict()
    gone = state.pop(lost)
    torch.save({f"rnn.{name}": value for name, value in state.items()}, tmp_path / "m.pt")
    with pytest.raises(ckptconv.DialectError) as caught:
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    error = str(caught.value)
    if lost == "weight_hh_l0":
        assert "incomplete recurrent layer: expected weight_ih_l0 and weight_hh_l0" in error
    else:
        first = lost in ("weight_ih_l0", "weight_ih")
        shape = f"({gone.shape[0]}, input_size)" if first else str(tuple(gone.shape))
        assert re.search(rf"rnn\.{lost}: .*expected {re.escape(shape)}, found nothing", error)
    kept = {"rnn": "Parameter"}
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", kinds=kept)
    assert len(report.tensors) == len(state)
