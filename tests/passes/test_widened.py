"""What reading computes of halves is rounded once, to the dtype that is asked for."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations as p
from torch.nn.utils import prune

import ckptconv
from tests import networks as n


def weight_norm(half):
    model = n.fill(nn.Sequential(p.weight_norm(nn.Linear(6, 5))).to(half), 1)
    return model, {"allow": ["weight_norm"]}, {"0.weight": model.double()[0].weight}


def spectral_norm(half):
    model = nn.Sequential(p.spectral_norm(n.fill(nn.Linear(6, 5), 2))).to(half).eval()
    return model, {}, {"0.weight": copy.deepcopy(model).double()[0].weight}


def forget_bias(half):
    model = n.fill(nn.Sequential(nn.LSTM(4, 3)).to(half), 3)
    bias = copy.deepcopy(model).double()[0].bias_ih_l0
    bias.data[3:6] += 0.3
    return model, {"forget_bias": 0.3}, {"0.bias_ih_l0": bias}


def map_of_sums(half):
    model = n.fill(nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Linear(4, 3)}).to(half), 4)
    added = model["a"].weight.double() + model["b"].weight.double()
    named = {f"a.{leaf} + b.{leaf}": f"c.{leaf}" for leaf in ("weight", "bias")}
    return model, {"map": named}, {"c.weight": added}


def folded_bias(half):
    model = n.fill(nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)).to(half), 5)
    mean = model[1].running_mean.double() - model[0].bias.double()
    return model, {"fold_bias": {"0": "1"}}, {"1.running_mean": mean}


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "case", [weight_norm, spectral_norm, forget_bias, map_of_sums, folded_bias]
)
def test_halves_are_rounded_once(tmp_path, case, half):
    model, options, expected = case(half)
    torch.save(model.to(half).state_dict(), tmp_path / "half.pt")
    src, rounds = tmp_path / "half.pt", str(half).partition(".")[2]
    for dtype in (torch.float32, torch.float64):
        name = str(dtype).partition(".")[2]
        dst = tmp_path / f"{name}.pt"
        report = ckptconv.convert(src, dst, to="torch", dtype=name, **options)
        assert not [note for note in report.notes if "rounded to" in note]
        held = torch.load(dst)
        for tensor, exact in expected.items():
            error = (held[tensor].double() - exact).abs().max()
            assert error <= torch.finfo(dtype).eps * exact.abs().max(), tensor
        if case is not folded_bias:
            assert ckptconv.verify(src, dst, **options).ok
    report = ckptconv.convert(src, tmp_path / "as_it_is.pt", to="torch", **options)
    said = [note for note in report.notes if f"rounded to {rounds} in" in note]
    assert all(any(tensor in note for note in said) for tensor in expected)
    assert all(note.endswith("dtype='float32' keeps what that loses") for note in said)


def test_what_rounds_nothing_is_not_told(tmp_path):
    pruned = prune.random_unstructured(n.fill(nn.Linear(6, 5)), "weight", 0.4)
    torch.save(nn.Sequential(pruned, nn.GRU(5, 3)).half().state_dict(), tmp_path / "half.pt")
    graph = ckptconv.load(tmp_path / "half.pt", z_convention=True)
    report = ckptconv.save(graph, tmp_path / "out.ckpt", to="mindspore")
    assert not [note for note in report.notes if "rounded to" in note]
