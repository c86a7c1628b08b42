"""A conversion of any layer is called the same model, and with anything changed it is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import ckptconv
from ckptconv import CkptconvError
from tests.networks import fill

LAYERS = {
    "LayerNorm": lambda: nn.LayerNorm(4),
    "LayerNorm without bias": lambda: nn.LayerNorm(4, bias=False),
    "RMSNorm": lambda: nn.RMSNorm(4),
    "GroupNorm": lambda: nn.GroupNorm(2, 4),
    "BatchNorm": lambda: nn.BatchNorm1d(4),
    "BatchNorm without weights": lambda: nn.BatchNorm1d(4, affine=False),
    "InstanceNorm": lambda: nn.InstanceNorm1d(4, affine=True),
    "Linear": lambda: nn.Linear(4, 4),
    "Linear without bias": lambda: nn.Linear(4, 4, bias=False),
    "Bilinear": lambda: nn.Bilinear(4, 4, 4, bias=False),
    "Embedding": lambda: nn.Embedding(4, 4),
    "EmbeddingBag": lambda: nn.EmbeddingBag(4, 4),
    "Conv1d": lambda: nn.Conv1d(4, 4, 2, bias=False),
    "Conv1d by channel": lambda: nn.Conv1d(4, 8, 2, groups=4, bias=False),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(4, 4, 2),
    "MultiheadAttention": lambda: nn.MultiheadAttention(4, 2, bias=False),
    "LSTM": lambda: nn.LSTM(4, 4, bidirectional=True),
    "GRU": lambda: nn.GRU(4, 4, 2),
    "RNNCell": lambda: nn.RNNCell(4, 4, bias=False),
}
TARGETS = {
    ".h5": "keras",
    ".weights.h5": "keras",
    ".ckpt": "mindspore",
    ".mint.ckpt": "mint",
    ".safetensors": "mindspore",
    ".pt": "torch",
}


@pytest.mark.parametrize("suffix", TARGETS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_same_model(tmp_path: Path, layer: str, suffix: str) -> None:
    torch.manual_seed(1)
    model = fill(nn.ModuleDict({"fc": nn.Linear(4, 3), "it": LAYERS[layer]()}))
    source, target = tmp_path / "model.pt", tmp_path / f"target{suffix}"
    torch.save(nn.ModuleDict({"net": model}), source)
    try:
        ckptconv.convert(source, target, to=TARGETS[suffix])
    except CkptconvError as error:
        if "has no equal in" not in str(error):
            raise
        return
    proof = ckptconv.verify(source, target)
    assert proof.ok, proof.verdict
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.flatten()[-1] += 0.01
            torch.save(nn.ModuleDict({"net": model}), source)
            assert not ckptconv.verify(source, target).ok, name
            value.flatten()[-1] -= 0.01


@pytest.mark.parametrize("suffix", TARGETS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_order_of_parameters_proves_nothing(tmp_path: Path, layer: str, suffix: str) -> None:
    """As weight_norm has it, which takes a weight out and puts it in again as the last."""
    source, target = tmp_path / "model.pt", tmp_path / f"target{suffix}"
    told = "MultiheadAttention(num_heads=2)" if layer == "MultiheadAttention" else layer.split()[0]
    plain = {"BatchNorm": "BatchNorm1d", "InstanceNorm": "InstanceNorm1d"}
    state = fill(nn.ModuleDict({"net": LAYERS[layer]()})).state_dict()
    torch.save(dict(reversed(state.items())), source)
    kinds = {"net": plain.get(told, told)} if state else {}
    try:
        ckptconv.convert(source, target, to=TARGETS[suffix], kinds=kinds)
    except CkptconvError as error:
        if "has no equal in" not in str(error):
            raise
        return
    proof = ckptconv.verify(source, target, kinds=kinds)
    assert proof.ok, proof.verdict
