"""What is assumed of the norms inside of MindSpore's Transformer layers is what these have."""

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
