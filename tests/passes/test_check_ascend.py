"""What Ascend cannot do: noted by default, refused or listed when it is the device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv import pipeline
from ckptconv.options import WriteOptions

ASCEND = WriteOptions(hardware="ascend")


def graph_of(module, **changes):
    state = {f"m.{name}": value.numpy().copy() for name, value in module.state_dict().items()}
    for name, value in changes.items():
        state[f"m.{name}"].reshape(-1)[0] = value
    return ckptconv.from_state_dict(state, "torch")


def notes(graph, options, to="mindspore"):
    ((layer, _),) = pipeline.lower(graph, to, options).made
    return list(layer.notes)


def test_gru_of_an_odd_size_is_noted():
    graph = graph_of(torch.nn.GRU(3, 20))
    assert notes(graph, WriteOptions()) == [
        "Ascend refuses GRU with hidden_size 20, no multiple of 16"
    ]
    assert notes(graph, WriteOptions()) == notes(graph, WriteOptions())
    assert notes(graph, WriteOptions(), to="mint") == notes(graph, WriteOptions())
    assert notes(graph, WriteOptions(), to="torch") == []


def test_gru_of_an_odd_size_is_refused_for_ascend():
    with pytest.raises(ckptconv.LossyError, match=r"m: Ascend cannot run this GRU.*16.*found 20"):
        pipeline.lower(graph_of(torch.nn.GRU(3, 20)), "mindspore", ASCEND)


@pytest.mark.parametrize(
    "module",
    [torch.nn.GRU(3, 32), torch.nn.LSTM(3, 20), torch.nn.RNN(3, 20), torch.nn.GRUCell(3, 20)],
    ids=str,
)
def test_others_run(module):
    assert notes(graph_of(module), WriteOptions()) == []
    assert notes(graph_of(module), ASCEND) == []


def test_losses_are_listed_by_tensor():
    graph = graph_of(torch.nn.LSTM(3, 16), weight_ih_l0=7e4, bias_hh_l0=1e-9)
    first, second = notes(graph, ASCEND)
    assert first.startswith("m.weight_ih_l0: 1 values overflow in float16")
    assert second.startswith("m.bias_hh_l0: 1 values vanish in float16")
    assert notes(graph, WriteOptions()) == []


def test_float16_limits_are_numpys():
    values = np.array([65519.0, 65520.0, 2.0**-25, 2.0**-24, 0.0], np.float32)
    graph = graph_of(torch.nn.LSTM(3, 16))
    layer = graph["m"]
    array = layer.params["bias_ih_l0"].numpy()
    array[:5] = values
    layer.params["bias_ih_l0"] = ckptconv.tensors.tensor.ArrayTensor(array)
    assert [note.split(" in float16")[0] for note in notes(graph, ASCEND)] == [
        "m.bias_ih_l0: 1 values overflow",
        "m.bias_ih_l0: 1 values vanish",
    ]
