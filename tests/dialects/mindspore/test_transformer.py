"""What is assumed of the norms inside of MindSpore's Transformers is what these have."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn

import ckptconv

CELLS = {"encoder": nn.TransformerEncoderLayer, "decoder": nn.TransformerDecoderLayer}


@pytest.mark.parametrize("name", CELLS)
def test_the_norms_of_a_transformer_layer_have_its_epsilon(tmp_path, name):
    cell = nn.CellDict({"tr": CELLS[name](4, 2, 6, 0.0), "norm1": nn.LayerNorm((4,))})
    ms.save_checkpoint(cell, str(tmp_path / "m.ckpt"))
    report = ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "m.pt", to="torch")
    made = {x.path: x for x in report.layers if x.kind == "LayerNorm"}
    assert len(made) == (3 if name == "encoder" else 4)
    small = np.random.default_rng(1).normal(size=(2, 4)).astype("f4") * 1e-3  # where eps counts
    for path, layer in made.items():
        norm = eval(layer.constructor, {"nn": torch.nn})
        original = cell["norm1"] if path == "norm1" else getattr(cell["tr"], path[3:])
        found = norm(torch.from_numpy(small)).detach().numpy()
        np.testing.assert_allclose(
            found, original(ms.Tensor(small)).asnumpy(), rtol=1e-4, atol=1e-6
        )
        assert f"eps ({norm.eps!r} is assumed)" in layer.unknown
    told = ckptconv.load(tmp_path / "m.ckpt", kinds={"tr.norm1": "LayerNorm(eps=1e-6)"})
    assert told["tr.norm1"].attributes["eps"] == 1e-6
    assert "eps" not in told["tr.norm1"].assumed


@pytest.mark.parametrize("name", ["", "net"])
def test_the_last_norms_of_a_transformer_have_its_epsilon(tmp_path, name):
    cell = nn.Transformer(4, 2, 1, 1, 6, 0.0)
    ms.save_checkpoint(nn.CellDict({name: cell}) if name else cell, str(tmp_path / "m.ckpt"))
    report = ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "m.pt", to="torch")
    made = {x.path: x for x in report.layers if x.kind == "LayerNorm"}
    norms = {
        f"{name}.{path}" if name else path: norm
        for path, norm in cell.cells_and_names()
        if isinstance(norm, nn.LayerNorm)
    }
    assert len(made) == len(norms) == 7
    for path, norm in norms.items():
        assert f"eps={norm.epsilon}" in made[path].constructor, path
        assert f"eps ({norm.epsilon} is assumed)" in made[path].unknown


def test_a_stack_that_stands_alone_was_given_its_norm(tmp_path):
    layer = nn.TransformerEncoderLayer(4, 2, 6, 0.0)
    encoder = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm((4,)))
    ms.save_checkpoint(nn.CellDict({"encoder": encoder}), str(tmp_path / "m.ckpt"))
    report = ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "m.pt", to="torch")
    made = {x.path: x for x in report.layers}
    assert f"eps ({encoder.norm.epsilon} is assumed)" in made["encoder.norm"].unknown
