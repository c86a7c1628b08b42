"""What a report says of layers that only others of the file tell."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
import torch
from torch import nn

import ckptconv


def test_a_norm_of_volumes_is_known_by_the_kernel_before_it_and_says_so(tmp_path):
    """After a pool and Flatten it would be a BatchNorm1d, which MindSpore names otherwise."""
    found = {}
    for rank, conv in ((2, nn.Conv2d), (3, nn.Conv3d)):
        torch.save(nn.Sequential(conv(1, 4, 3), nn.BatchNorm1d(4)).state_dict(), tmp_path / "m.pt")
        report = ckptconv.convert(
            tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", dry_run=True
        )
        found[rank] = [*report.layers[1].notes]
    assert found[2] == []
    assert "taken for BatchNorm3d by the kernel before it" in found[3][0]


def test_a_norm_that_no_kernel_stands_before_is_taken_for_none_of_volumes_and_says_so(tmp_path):
    """MindSpore names the parameters of a BatchNorm3d otherwise."""
    network = nn.ModuleDict({"norm": nn.BatchNorm3d(3), "mix": nn.Bilinear(2, 3, 4)})
    torch.save(network.state_dict(), tmp_path / "m.pt")
    report = ckptconv.convert(
        tmp_path / "m.pt",
        tmp_path / "m.ckpt",
        to="mindspore",
        kinds={"mix": "Bilinear"},
        dry_run=True,
    )
    assert any("BatchNorm3d'} if it is one" in note for note in report.layers[0].notes)


def test_a_transposed_convolution_with_groups(tmp_path):
    """Keras has none; with a bias no row of the table has its shapes."""
    for bias in (False, True):
        torch.save(
            nn.Sequential(nn.ConvTranspose2d(4, 6, 3, groups=2, bias=bias)), tmp_path / "m.pt"
        )
        if not bias:
            with pytest.raises(ckptconv.LossyError, match="has no such groups"):
                ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.h5", to="keras")
        else:
            report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
            assert report.layers[0].notes[0].startswith("of a ConvTranspose2d whose parameters")


def test_a_norm_of_instances_with_statistics_computes_what_a_batch_norm_does():
    for track in (False, True):
        norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=track)
        (layer,) = ckptconv.from_torch(nn.ModuleDict({"norm": norm}))
        assert layer.kind == ("BatchNorm2d" if track else "InstanceNorm2d")
        assert layer.evidence == "class in the file"


def test_a_norm_of_instances_runs_as_a_norm_of_groups_where_mindspore_has_none(tmp_path):
    """As its note says: MindSpore's runs on GPU alone."""
    norm = nn.ModuleDict({"norm": nn.InstanceNorm1d(4, affine=True, eps=0.1)})
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    torch.save(norm, tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    assert "on others convert it as a GroupNorm" in report.layers[0].notes[0]
    kinds, path = {"norm": "GroupNorm"}, tmp_path / "g.ckpt"
    ckptconv.convert(tmp_path / "m.pt", path, to="mindspore", kinds=kinds)
    made = ms.nn.CellDict({"norm": ms.nn.GroupNorm(4, 4, eps=0.1)})
    assert ms.load_param_into_net(made, ms.load_checkpoint(str(path)), strict_load=True) == ([], [])
    x = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    found, wanted = made["norm"](ms.Tensor(x.numpy())), norm["norm"](x).detach().numpy()
    np.testing.assert_allclose(found.asnumpy(), wanted, atol=1e-6)


def test_attention_with_a_key_of_zeros_is_none_of_keras():
    attention = nn.ModuleDict({"attend": nn.MultiheadAttention(4, 2, add_zero_attn=True)})
    with pytest.raises(ckptconv.LossyError, match="attend: add_zero_attn has no equal in Keras"):
        ckptconv.to_state_dict(ckptconv.from_torch(attention), "keras")


@pytest.mark.parametrize("made", ["peephole", "normed"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_recurrent_layer_that_holds_more_is_asked_about(tmp_path, made, kind):
    """A subclass of nn.LSTM may compute anything; one in a file that says its class is one."""
    layer = getattr(nn, kind)(3, 4)
    more = {"peephole": ("weight_ch", nn.Parameter(torch.ones(8))), "normed": ("n", nn.PReLU())}
    setattr(layer, *more[made])
    torch.save(nn.ModuleDict({"enc": layer}).state_dict(), tmp_path / "m.pt")
    with pytest.raises(ckptconv.AmbiguousKindError, match=more[made][0]) as caught:
        ckptconv.load(tmp_path / "m.pt")
    assert caught.value.choices == {"enc": (kind, "Parameter")}
    told = {"n": {"enc.n": "PReLU"}}.get(more[made][0], {})
    graph = ckptconv.load(tmp_path / "m.pt", kinds={"enc": kind, **told})
    assert [layer.path for layer in graph] == ["enc", f"enc.{more[made][0]}"]
    kept = ckptconv.load(tmp_path / "m.pt", kinds={"enc": "Parameter", **told})
    assert {layer.kind for layer in kept} <= {"Parameter", "PReLU"}
    torch.save(nn.ModuleDict({"enc": layer}), tmp_path / "whole.pt")
    assert ckptconv.load(tmp_path / "whole.pt").layers[0].kind == kind


def test_a_cell_that_holds_a_norm_is_a_class_of_its_own(tmp_path):
    cell = nn.LSTMCell(3, 4)
    cell.norm = nn.GroupNorm(2, 16)
    torch.save(nn.ModuleDict({"cell": cell}).state_dict(), tmp_path / "m.pt")
    graph = ckptconv.load(tmp_path / "m.pt", kinds={"cell.norm": "GroupNorm"})
    assert [layer.kind for layer in graph] == ["Parameter"] * 4 + ["GroupNorm"]
    assert "a class of its own" in graph.layers[0].notes[0]


def test_what_holds_a_module_beside_its_weights_is_noted(tmp_path):
    """As a Linear with adapters does."""
    linear = nn.Linear(3, 4)
    linear.adapter = nn.Linear(3, 2, bias=False)
    torch.save(nn.ModuleDict({"fc": linear}).state_dict(), tmp_path / "m.pt")
    graph = ckptconv.load(tmp_path / "m.pt", kinds={"fc.adapter": "Linear"})
    assert graph.layers[0].notes[0].startswith("holds fc.adapter too, as no Linear does")
    assert not ckptconv.load(tmp_path / "m.pt", kinds={"fc*": "Linear"}).layers[0].notes


@pytest.mark.parametrize("name", ["bn", "batch_norm", "norm"])
def test_a_norm_is_given_no_statistics_for_its_name(tmp_path, name):
    """A BatchNorm of MindSpore's has them, and a LayerNorm may be called ``bn``."""
    network = nn.ModuleDict({"lstm": nn.LSTM(3, 4), name: nn.LayerNorm(4), "out": nn.Linear(4, 2)})
    torch.save(dict(network.state_dict()), tmp_path / "m.pt")  # without the versions of modules
    with pytest.raises(ckptconv.AmbiguousKindError) as caught:
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    assert {"LayerNorm", "BatchNorm1d"} <= {*caught.value.choices[name]}
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", kinds={name: "LayerNorm"}
    )
    assert [t.target for t in report.layers[1].tensors] == [f"{name}.gamma", f"{name}.beta"]


def test_what_a_target_lacks_is_said_with_its_settings(tmp_path):
    """Nothing else of the report has them: no call builds such a layer."""
    bag = nn.EmbeddingBag(7, 3, mode="sum", padding_idx=1)
    torch.save(nn.ModuleDict({"norm": nn.RMSNorm(4, eps=0.1), "bag": bag}), tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    notes = {layer.path: " ".join(layer.notes) for layer in report.layers}
    assert notes["norm"].endswith("computes it of these parameters, with eps=0.1")
    assert notes["bag"].endswith("reduce the bag yourself, with mode='sum', padding_idx=1")
