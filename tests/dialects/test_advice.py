"""What is advised of layers that a file does not tell can be given as it stands, and fits."""

import ast
import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv.spelling import patterns
from tests import networks as n


class Coder(nn.Module):
    """A separator of sounds: its Sequentials hold convolutions and norms side by side."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.ModuleList(
            nn.Sequential(nn.Conv1d(i, o, 8, 4), nn.ReLU(), nn.Conv1d(o, 2 * o, 1), nn.GLU(1))
            for i, o in ((1, 4), (4, 6))
        )
        self.table = nn.Embedding(14, 6)
        self.lstm = nn.LSTM(6, 6, bidirectional=True)
        self.gates = nn.Sequential(nn.Linear(12, 5, bias=False), nn.BatchNorm1d(5), nn.ReLU())
        self.head = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 5, bias=False))
        self.decoder = nn.ModuleList(
            [nn.Sequential(nn.Conv1d(6, 12, 3), nn.ConvTranspose1d(6, 4, 8))]
        )


class Reader(nn.Module):
    """Text in a picture: convolutions without biases, each with the norm that follows it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1, bias=False),
            *(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, bias=False), nn.BatchNorm2d(8)),
        )
        self.conv = nn.Conv2d(8, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.deconv = nn.ConvTranspose2d(8, 6, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(6)
        self.rnn = nn.GRU(6, 5, batch_first=True)


def test_patterns_fit_what_is_meant_alone():
    meant = ["a.0.0", "a.0.3", "a.1.0", "a.10.0"]
    assert patterns(meant, ["a.0.1", "a.1.1", "b"]) == ["a.*.0", "a.0.3"]
    assert patterns(meant, []) == ["a.*.*"]
    assert patterns(["x[1]", "x[2]"], ["x.1"]) == ["x[[]*]"]
    assert patterns(["c1", "c2", "c3"], ["c9"]) == ["c1", "c2", "c3"]


@pytest.mark.parametrize("target", ["mindspore", "keras"])
def test_what_is_advised_can_be_given_as_it_stands(tmp_path, target):
    network = Coder()
    n.fill(network)
    torch.save(OrderedDict(network.state_dict()), tmp_path / "coder.pt")  # without _metadata
    goal = tmp_path / {"mindspore": "coder.ckpt", "keras": "coder.weights.h5"}[target]
    with pytest.raises(ckptconv.AmbiguousKindError) as caught:
        ckptconv.convert(tmp_path / "coder.pt", goal, to=target)
    said = ast.literal_eval(caught.value.hint.removeprefix("kinds="))
    report = ckptconv.convert(tmp_path / "coder.pt", goal, to=target, kinds=said)
    classes = {path: type(module).__name__ for path, module in network.named_modules()}
    assert {layer.path: layer.kind for layer in report.layers} == {
        layer.path: classes[layer.path] for layer in report.layers
    }


def test_a_kernel_is_known_by_its_name_and_the_norm_after_it(tmp_path):
    network = Reader()
    n.fill(network)
    torch.save(network.state_dict(), tmp_path / "reader.pt")
    report = ckptconv.convert(tmp_path / "reader.pt", tmp_path / "reader.ckpt", to="mindspore")
    found = {layer.path: layer.kind for layer in report.layers}
    assert found == {p: type(m).__name__ for p, m in network.named_modules() if p in found}
    assert len(found) == 9
    layer = next(layer for layer in report.layers if layer.path == "layers.3")
    assert "taken for Conv2d by the channels" in layer.notes[0]


def test_a_tensor_that_is_alone_may_be_of_a_class_of_ones_own(tmp_path):
    values = {"scale.weight": torch.arange(12.0).reshape(4, 3) + 0.5}
    torch.save(values, tmp_path / "own.pt")
    with pytest.raises(ckptconv.AmbiguousKindError) as caught:
        ckptconv.convert(tmp_path / "own.pt", tmp_path / "own.ckpt", to="mindspore")
    *_, last = re.split(" or |; ", caught.value.hint.partition("; Parameter keeps it")[0])
    assert last == "kinds={'scale': 'Parameter'}"
    said = ast.literal_eval(last.removeprefix("kinds="))
    ckptconv.convert(tmp_path / "own.pt", tmp_path / "own.ckpt", to="mindspore", kinds=said)
    graph = ckptconv.load(tmp_path / "own.ckpt", kinds=said)
    found = ckptconv.to_state_dict(graph, "torch")
    np.testing.assert_array_equal(found["scale.weight"], values["scale.weight"])


@pytest.mark.parametrize("name", ["conv", "block"])
def test_channels_against_a_name_or_with_none_decide_nothing(tmp_path, name):
    network = nn.ModuleDict(
        {name: nn.ConvTranspose2d(8, 4, 3, bias=False), "bn": nn.BatchNorm2d(4)}
    )
    torch.save(network.state_dict(), tmp_path / "up.pt")
    with pytest.raises(ckptconv.AmbiguousKindError) as caught:
        ckptconv.convert(tmp_path / "up.pt", tmp_path / "up.ckpt", to="mindspore")
    assert caught.value.choices[name][0] == "ConvTranspose2d"


def test_one_slope_is_a_slope(tmp_path):
    torch.save(nn.ModuleDict({"2": nn.PReLU()}).state_dict(), tmp_path / "slope.pt")
    report = ckptconv.convert(tmp_path / "slope.pt", tmp_path / "slope.ckpt", to="mindspore")
    (layer,) = report.layers
    assert layer.constructor == "nn.PReLU(1)"
    assert layer.notes[0].startswith("taken for PReLU, since")
    ckptconv.convert(tmp_path / "slope.pt", tmp_path / "norm.ckpt", to="mindspore",
                     like={"2.gamma": (1,), "2.beta": (1,)}, force=True)  # fmt: skip


def test_each_kind_is_advised_once(tmp_path):
    import mindspore as ms

    cell = ms.nn.SequentialCell(ms.nn.Dense(3, 3), ms.nn.PReLU())
    ms.save_checkpoint(cell, str(tmp_path / "slope.ckpt"))
    with pytest.raises(ckptconv.AmbiguousKindError) as caught:
        ckptconv.convert(tmp_path / "slope.ckpt", tmp_path / "slope.pt", to="torch")
    advised = caught.value.hint.partition("; ")[0].split(" or ")
    assert len(advised) == len(set(advised)) == 2
    kinds = ast.literal_eval(advised[0].removeprefix("kinds="))
    ckptconv.convert(tmp_path / "slope.ckpt", tmp_path / "slope.pt", to="torch", kinds=kinds)
    target = nn.Sequential(nn.Linear(3, 3), nn.PReLU())
    target.load_state_dict(torch.load(tmp_path / "slope.pt", weights_only=True))
    x = np.linspace(-1, 1, 6, dtype="f4").reshape(2, 3)
    expected = cell(ms.Tensor(x)).asnumpy()
    np.testing.assert_allclose(target(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-6)


def test_a_kernel_of_one_place_is_advised_with_the_rank_of_the_one_before(tmp_path):
    """MindSpore's Conv1d has kernels of four axes, as its Conv2d has."""
    import mindspore as ms

    nn = ms.nn
    for kind, size in (("Conv2d", 3), ("Conv1d", 3)):
        network = nn.CellDict({"seen": getattr(nn, kind)(2, 4, size, has_bias=True),
                               "score": getattr(nn, kind)(4, 5, 1, has_bias=True)})  # fmt: skip
        ms.save_checkpoint(network, str(tmp_path / "m.ckpt"))
        with pytest.raises(ckptconv.AmbiguousKindError) as caught:
            ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "m.pt", to="torch",
                             kinds={"seen": kind})  # fmt: skip
        assert caught.value.choices["score"][0] == kind
