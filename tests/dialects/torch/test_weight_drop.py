"""AWD-LSTM's WeightDrop on layers of every kind, in both forms, below every wrapper."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import ckptconv

LAYERS = {
    "LSTM": (lambda: nn.LSTM(4, 5), "weight_hh_l0", (6, 2, 4)),
    "GRU": (lambda: nn.GRU(4, 4, bidirectional=True), "weight_ih_l0_reverse", (6, 2, 4)),
    "GRUCell": (lambda: nn.GRUCell(4, 5), "weight_hh", (2, 4)),
    "Linear": (lambda: nn.Linear(4, 5), "weight", (2, 4)),
    "Linear bias": (lambda: nn.Linear(4, 4), "bias", (2, 4)),
    "Conv1d": (lambda: nn.Conv1d(4, 5, 3), "weight", (2, 4, 6)),
    "Conv2d": (lambda: nn.Conv2d(4, 5, 3), "weight", (2, 4, 6, 5)),
}
WRAPPERS = {
    "none": lambda model: model,
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "compiled": torch.compile,
    "compiled AveragedModel": lambda model: torch.compile(AveragedModel(model)),
    "AveragedModel of DataParallel": lambda model: AveragedModel(nn.DataParallel(model)),
}
SAVED = [(name, False) for name in WRAPPERS]
SAVED += [(name, True) for name in WRAPPERS if "compiled" not in name]
LEFT_OUT = "a copy of the raw weight with dropout, made anew in each step of training"


class WeightDrop(nn.Module):
    """Computes a layer with a weight that is dropped out anew in each step."""

    def __init__(self, module, name, inside):
        super().__init__()
        self.module, self.name, self.inside = module, name, inside
        self.holder.register_parameter(f"{name}_raw", nn.Parameter(getattr(module, name).data))

    @property
    def holder(self):
        return self.module if self.inside else self

    def forward(self, x):
        raw = getattr(self.holder, f"{self.name}_raw")
        dropped = nn.functional.dropout(raw, 0.4, self.training)
        setattr(self.module, self.name, nn.Parameter(dropped))
        found = self.module(x)
        return found[0] if isinstance(found, tuple) else found


class Network(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.norm = layer, nn.LayerNorm(3)


def trained(kind, inside):
    """Return the network, an input, and what the layer computes of it."""
    torch.manual_seed(3)
    make, name, shape = LAYERS[kind]
    layer, x = WeightDrop(make(), name, inside), torch.randn(shape)
    layer.train()(x)
    with torch.no_grad():
        expected = copy.deepcopy(layer).eval()(x)
    return Network(layer), x, expected


def converted(path, kind):
    """Return what a layer of torch's computes with the weights of a file, and the report."""
    kinds = {"*layer.module": kind.split()[0]}
    report = ckptconv.convert(path, path.with_name("out.pt"), to="torch", kinds=kinds)
    state = torch.load(path.with_name("out.pt"), weights_only=True)
    layer = LAYERS[kind][0]()
    cut = next(name for name in state if "layer.module." in name).index("layer.module.") + 13
    layer.load_state_dict({n[cut:]: v for n, v in state.items() if "layer" in n}, strict=True)
    return layer, report


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_raw_weight_counts(tmp_path: Path, kind: str, inside: bool) -> None:
    network, x, expected = trained(kind, inside)
    torch.save(network.state_dict(), tmp_path / "in.pt")
    layer, report = converted(tmp_path / "in.pt", kind)
    found = layer(x)
    found = found[0] if isinstance(found, tuple) else found
    np.testing.assert_array_equal(found.detach(), expected)
    assert report.omitted == {f"layer.module.{LAYERS[kind][1]}": LEFT_OUT}


@pytest.mark.parametrize(("wrapper", "whole"), SAVED)
@pytest.mark.parametrize("kind", ["LSTM", "Linear"])
def test_what_is_left_out_has_the_names_of_the_file(
    tmp_path: Path, kind: str, wrapper: str, whole: bool
) -> None:
    network = WRAPPERS[wrapper](trained(kind, False)[0])
    torch.save(network if whole else network.state_dict(), tmp_path / "in.pt")
    _, report = converted(tmp_path / "in.pt", kind)
    names = [*network.state_dict()]
    assert {*report.omitted} <= {*names}
    assert [n for n in report.omitted if n.endswith(f".module.{LAYERS[kind][1]}")]


def test_what_may_be_another_class_is_kept_and_told(tmp_path: Path) -> None:
    state = {
        "fc.weight_raw": torch.randn(5, 4),
        "fc.module.weight": torch.randn(5, 4),
        "fc.module.bias": torch.randn(5),
        "other.weight_raw": torch.randn(5, 4),
        "other.weight": torch.randn(4, 5),
    }
    torch.save(state, tmp_path / "in.pt")
    kinds = {"fc.module": "Linear"}
    convert = ckptconv.convert
    report = convert(tmp_path / "in.pt", tmp_path / "a.pt", to="torch", kinds=kinds)
    assert torch.load(tmp_path / "a.pt").keys() == state.keys()
    (note,) = (note for note in report.notes if "weight_raw" in note)
    assert "fc.weight_raw stands beside fc.module.weight" in note
    assert "allow=['weight_drop']" in note
    convert(tmp_path / "in.pt", tmp_path / "b.pt", to="torch", kinds=kinds, allow=["weight_drop"])
    found = torch.load(tmp_path / "b.pt")
    assert found.keys() == state.keys() - {"fc.weight_raw"}
    assert torch.equal(found["fc.module.weight"], state["fc.weight_raw"])
