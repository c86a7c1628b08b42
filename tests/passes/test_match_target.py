"""--like and load_into: the target network's own names, judged by its outputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from tests import networks as n
from tests.cli.test_cli import run

ms = pytest.importorskip("mindspore")
from mindspore import nn as msnn  # noqa: E402


class Renamed(msnn.Cell):
    """The sample's network under other names and in another order."""

    def __init__(self):
        super().__init__()
        self.classifier = msnn.Dense(32, 5)
        self.LSTM = msnn.LSTM(12, 16, num_layers=2, batch_first=True, bidirectional=True)
        self.words = msnn.Embedding(40, 12)
        self.scaling = msnn.LayerNorm((32,), epsilon=1e-5)

    def construct(self, tokens, h0, c0):
        states, (h, c) = self.LSTM(self.words(tokens), (h0, c0))
        return self.classifier(self.scaling(states)), h, c


def outputs(net, samples):
    known = np.load(samples / "tagger_outputs.npz")
    tokens = ms.Tensor(known["tokens"].astype("i4"))
    found = net.set_train(False)(tokens, ms.Tensor(known["h0"]), ms.Tensor(known["c0"]))
    return [(a.asnumpy(), known[name]) for a, name in zip(found, ("logits", "h", "c"), strict=True)]


def shapes(net):
    return {p.name: list(p.shape) for p in net.get_parameters()}


@pytest.fixture(params=["ckpt", "json", "lines"])
def target_list(request, tmp_path):
    """Write the parameter list of the target network in each form."""
    net, path = Renamed(), tmp_path / f"like.{request.param}"
    if request.param == "ckpt":
        ms.save_checkpoint(net, str(path))
    elif request.param == "json":
        path.write_text(json.dumps(shapes(net)))
    else:
        path.write_text("\n".join(f"{k}: {tuple(v)}" for k, v in shapes(net).items()))
    return path


def test_other_names_and_another_order(samples, tmp_path, target_list):
    run("torch2ms", samples / "tagger.pt", "-o", tmp_path / "t.ckpt", "--like", target_list, "-q")
    net = Renamed()
    n.load_strictly(net, tmp_path / "t.ckpt")
    for found, expected in outputs(net, samples):
        n.close(found, expected)


def test_a_layer_beyond_recognition_is_refused_with_the_closest(samples, tmp_path):
    spec = shapes(Renamed())
    spec["net.out.matrix"] = spec.pop("classifier.weight")
    (tmp_path / "like.json").write_text(json.dumps(spec))
    target = tmp_path / "t.ckpt"
    like = ("--like", tmp_path / "like.json")
    _, err = run("torch2ms", samples / "tagger.pt", "-o", target, *like, code=1)
    assert (
        "target parameter net.out.matrix (5, 32) is not filled (closest: head.weight (5, 32)" in err
    )
    assert "head.weight (5, 32) has no place in the target (closest: net.out.matrix (5, 32)" in err
    assert not target.exists()


def test_two_layers_of_one_structure_are_never_guessed(tmp_path):
    torch.save({"a.weight": torch.ones(2, 3), "b.weight": torch.zeros(2, 3)}, tmp_path / "m.pt")
    (tmp_path / "like.json").write_text('{"x.weight": [2, 3], "y.weight": [2, 3]}')
    kinds = {"a": "Linear", "b": "Linear"}
    with pytest.raises(ckptconv.DialectError, match="2 parameters of the target and 2 of the"):
        ckptconv.convert(
            tmp_path / "m.pt",
            tmp_path / "m.ckpt",
            to="mindspore",
            kinds=kinds,
            like=tmp_path / "like.json",
        )


def test_the_target_settles_kinds(tmp_path):
    state = {"thing.weight": torch.rand(5, 3), "other.weight": torch.rand(4, 6)}
    torch.save(state, tmp_path / "m.pt")
    (tmp_path / "like.json").write_text('{"thing.embedding_table": [5, 3], "o.weight": [4, 6]}')
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", like=tmp_path / "like.json"
    )
    assert [layer.kind for layer in report.layers] == ["Embedding", "Linear"]
    assert report.layers[0].evidence == "parameters of the target (--like)"
    loaded = ms.load_checkpoint(str(tmp_path / "m.ckpt"))
    np.testing.assert_array_equal(loaded["o.weight"].asnumpy(), state["other.weight"].numpy())


def test_case_is_forgiven(tmp_path):
    torch.save({"Enc.Weight": torch.rand(5)}, tmp_path / "m.pt")
    (tmp_path / "like.txt").write_text("enc.weight (5,)\n")
    ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", like=tmp_path / "like.txt"
    )
    assert list(ms.load_checkpoint(str(tmp_path / "m.ckpt"))) == ["enc.weight"]


@pytest.mark.parametrize("text", ["{}{", "what is this (1, 2) here", '{"a": "b"}', "\x00\xff"])
def test_what_is_no_list_of_parameters(tmp_path, samples, text):
    (tmp_path / "like").write_text(text)
    with pytest.raises(ckptconv.ContainerError):
        ckptconv.convert(
            samples / "tagger.pt", tmp_path / "t.ckpt", to="mindspore", like=tmp_path / "like"
        )
    assert not (tmp_path / "t.ckpt").exists()


def test_load_into_a_cell_and_a_module(samples):
    cell = Renamed()
    report = ckptconv.load_into(cell, samples / "tagger.pt")
    assert report.written
    for found, expected in outputs(cell, samples):
        n.close(found, expected)
    module = nn.ModuleDict({"lstm": nn.LSTM(12, 16, 2, bidirectional=True)})
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(ckptconv.DialectError, match="has no place in the target"):
        ckptconv.load_into(module, samples / "tagger.pt")
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    with pytest.raises(ckptconv.CkptconvError, match=r"a mindspore.nn.Cell or a torch.nn.Module"):
        ckptconv.load_into(object(), samples / "tagger.pt")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_from_a_live_module_into_a_live_one(dtype):
    kind = getattr(torch, dtype)
    source = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 5, bias=False), nn.LayerNorm(5))
    source = n.fill(source).to(kind)
    graph = ckptconv.from_torch(source)
    assert [layer.kind for layer in graph] == ["Embedding", "Linear", "LayerNorm"]
    assert [layer.evidence for layer in graph][:2] == ["class in the file"] * 2
    assert graph["2"].attributes["eps"] == 1e-5
    target = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 5, bias=False), nn.LayerNorm(5))
    ckptconv.load_into(target.to(kind), graph)
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value)
    arrays = ckptconv.to_state_dict(graph, "mindspore")
    assert list(arrays) == ["0.embedding_table", "1.weight", "2.gamma", "2.beta"]


def test_a_batch_norm_from_mindspore_fills_a_torch_module(tmp_path):
    cell = msnn.SequentialCell(msnn.BatchNorm2d(3))
    ms.save_checkpoint(cell, str(tmp_path / "bn.ckpt"))
    module = n.fill(nn.Sequential(nn.BatchNorm2d(3)))
    ckptconv.load_into(module, tmp_path / "bn.ckpt", kinds={"0": "BatchNorm2d"})
    assert module[0].num_batches_tracked == 0
    assert torch.equal(module[0].running_var, torch.ones(3))
