"""``drop`` and ``fold_bias``: what a layer can be without goes, and what is tied stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import ckptconv
from tests import networks as n


def network():
    model = nn.Module()
    model.conv, model.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    model.fc, model.norm = nn.Linear(4, 4), nn.LayerNorm(4)
    model.att = nn.MultiheadAttention(4, 2, add_bias_kv=True)
    model.rnn = nn.LSTM(4, 4)
    return n.fill(model)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("edit") / "model.pt"
    torch.save(network(), path)
    return path


APART = [
    *(["fc.weight"], ["conv.weight"], ["norm.weight"], ["att.in_proj_weight"], ["att.out_proj"]),
    *(["att.bias_k"], ["bn.running_mean"], ["bn.running_var"], ["bn.bias"], ["rnn.weight_hh_l0"]),
]


@pytest.mark.parametrize("target", ["torch .pt", "keras .h5", "mindspore .ckpt"])
def test_a_layer_that_would_be_none_is_refused(model, target):
    to, suffix = target.split()
    for paths in APART:
        with pytest.raises(ckptconv.DialectError, match="takes a layer apart"):
            ckptconv.save(load(model), model.parent / f"out{suffix}", to=to, drop=paths)


def load(model):
    return ckptconv.load(model, kinds={"att": "MultiheadAttention(num_heads=2)"})


def test_what_a_layer_can_be_without_goes(model):
    statistics = [f"bn.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
    biases = ["fc.bias", "conv.bias", "norm.bias", "att.bias_k", "att.bias_v", "att.out_proj.bias"]
    gone = {*statistics, *biases, *network().rnn.state_dict(prefix="rnn.")}
    target = model.parent / "less.pt"
    ckptconv.save(load(model), target, to="torch", drop=[*statistics, *biases, "rnn"])
    expected = {name: value for name, value in network().state_dict().items() if name not in gone}
    found = torch.load(target)
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_of_a_module_and_what_stands_in_it_both_are_met(model):
    report = ckptconv.convert(
        model, model.parent / "x.pt", to="torch", drop=["rnn.weight_hh_l0", "rnn", "fc", "fc.bias"]
    )
    assert (
        report.omitted["rnn.bias_hh_l0"] == report.omitted["rnn.weight_hh_l0"] == "dropped as rnn"
    )
    assert "fc.weight" in report.omitted
    with pytest.raises(ckptconv.DialectError, match="rn: drop: no such module"):
        ckptconv.convert(model, model.parent / "y.pt", to="torch", drop=["rnn", "rn"])


def test_advice_for_many_alike_is_given_for_a_few(tmp_path):
    heads = nn.ModuleList(nn.MultiheadAttention(4, 2) for _ in range(12))
    torch.save(heads.state_dict(), tmp_path / "m.pt")
    with pytest.raises(ckptconv.DialectError, match="and 9 more like these") as refused:
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.h5", to="keras")
    assert str(refused.value).count("num_heads=") == 3


@pytest.mark.parametrize("twice", ["conv", "bn"])
def test_a_bias_is_not_folded_where_a_module_stands_twice(twice, tmp_path):
    model = network()
    model.again = getattr(model, twice)
    graph = ckptconv.from_torch(model)
    with pytest.raises(ckptconv.DialectError, match=f"{twice}: fold_bias: its parameters are tied"):
        ckptconv.save(graph, tmp_path / "out.pt", to="torch", fold_bias={"conv": "bn"})


def test_a_bias_is_folded_once(model):
    pairs = [("conv", "bn"), ("conv", "norm")]
    with pytest.raises(ckptconv.DialectError, match="a convolution with a bias"):
        ckptconv.save(load(model), model.parent / "out.pt", to="torch", fold_bias=pairs)


CLASHES = {
    "rename": ("torch", {"rename": {"^bn$": "fc"}}),
    "map": ("torch", {"map": {"bn": "rnn"}}),
    "split": ("torch", {"split": ["rnn"]}),
    "fuse": ("torch", {"fuse": {"fc": ["rnn"]}}),
    "fold_proj": ("mindspore", {"fold_proj": True}),
}


@pytest.mark.parametrize("liked", [False, True])
@pytest.mark.parametrize("clash", CLASHES)
def test_two_modules_of_one_path_are_refused(clash, liked, tmp_path):
    """Their parameters have other names, or one of both was lost under the target's names."""
    to, options = CLASHES[clash]
    model = nn.Module()
    model.fc, model.bn, model.rnn = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.LSTM(4, 4)
    model.rnn_0 = nn.LayerNorm(4)
    if clash == "fold_proj":
        model.rnn, model.rnn_proj = nn.LSTM(4, 5, proj_size=3), nn.Linear(5, 3, bias=False)
    torch.save(n.fill(model).state_dict(), tmp_path / "m.pt")
    options |= {"kinds": {"rnn_proj": "Linear"}} if clash == "fold_proj" else {}
    like = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if clash == "fold_proj":
        like |= {"rnn.weight_hh_l0": (20, 5)}
        del like["rnn.weight_hr_l0"]
    options = {**options, "like": like} if liked else options
    target = tmp_path / ("out.pt" if to == "torch" else "out.ckpt")
    with pytest.raises(ckptconv.DialectError, match="two modules would get this path"):
        ckptconv.convert(tmp_path / "m.pt", target, to=to, **options)


@pytest.mark.parametrize("moving", [{"map": {"fc": "net.out"}}, {"rename": {"^fc$": "net.out"}}])
def test_what_was_renamed_is_dropped_by_its_new_name(model, moving):
    out = model.parent / "z.pt"
    with pytest.raises(ckptconv.DialectError) as error:
        ckptconv.convert(model, out, to="torch", drop=["fc"], **moving)
    assert "drop=['net.out']" in str(error.value.hint)
    report = ckptconv.convert(model, out, to="torch", drop=["net.out"], force=True, **moving)
    assert report.omitted["fc.weight"] == "dropped as net.out"
