"""MindSpore's names read back: nn, mint, training checkpoints, the layouts of before 1.6."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv.checkpoint import Checkpoint
from ckptconv.formats import write
from ckptconv.tensors.tensor import ArrayTensor
from tests import networks as n
from tests import test_torch2ms as models

ms = pytest.importorskip("mindspore")
from mindspore import nn as msnn  # noqa: E402

# nn stores Conv1d as Conv2d stores a kernel of (1, K): only the user can tell.
KINDS = {"conv1": "Conv1d", "deconv1": "ConvTranspose1d", "inst_norm": "InstanceNorm1d"}


@pytest.mark.parametrize("use_mint", [False, True])
def test_a_whole_model_comes_back_to_torch(tmp_path, use_mint):
    source = n.fill(models.TorchModel(), seed=4)
    torch.save(source.state_dict(), tmp_path / "m.pt")
    to = "mint" if use_mint else "mindspore"
    kinds = {"act": "PReLU", "inst_norm": "InstanceNorm1d"}
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to=to, kinds=kinds)
    target = models.MindSporeModel(use_mint)
    n.load_strictly(target, tmp_path / "m.ckpt")
    ms.save_checkpoint(target, str(tmp_path / "theirs.ckpt"))
    back = tmp_path / "back.pt"
    report = ckptconv.convert(tmp_path / "theirs.ckpt", back, to="torch", kinds=KINDS)
    fresh = models.TorchModel()
    fresh.load_state_dict(torch.load(back, weights_only=True), strict=True)
    for name, value in source.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(fresh.state_dict()[name], value), name
    assert set(report.omitted) <= {"inst_norm.moving_mean", "inst_norm.moving_variance"}


def test_a_training_checkpoint_leaves_the_optimizer_out(tmp_path):
    net = msnn.SequentialCell(msnn.Dense(3, 4), msnn.LayerNorm((4,)))
    optimizer = msnn.Adam(net.trainable_params(), learning_rate=0.01)
    train = msnn.TrainOneStepCell(msnn.WithLossCell(net, msnn.MSELoss()), optimizer).set_train()
    train(ms.Tensor(np.ones((2, 3), "f4")), ms.Tensor(np.zeros((2, 4), "f4")))
    ms.save_checkpoint(train, str(tmp_path / "t.ckpt"), append_dict={"epoch_num": 4})
    report = ckptconv.convert(tmp_path / "t.ckpt", tmp_path / "t.pt", to="torch")
    state = torch.load(tmp_path / "t.pt", weights_only=True)
    assert sorted(state) == ["0.bias", "0.weight", "1.bias", "1.weight"]
    assert set(ms.load_checkpoint(str(tmp_path / "t.ckpt"))) == set(report.omitted) | {
        "0.bias",
        "0.weight",
        "1.beta",
        "1.gamma",
    }
    assert report.omitted["moment1.0.weight"] == "training state: Adam mirrors 0.weight"


def test_a_module_called_like_optimizer_state_is_kept():
    state = {"moments.weight": np.ones((2, 3), "f4"), "moments.bias": np.ones(2, "f4")}
    graph = ckptconv.from_state_dict(state, "mindspore")
    assert [layer.path for layer in graph] == ["moments"]


def flat_cpu(module, kinds=("weight_ih", "weight_hh"), bias=True):
    """Lay out an LSTM as MindSpore 1.0 did on CPU, checked there against its outputs."""
    state, places = module.state_dict(), _places(module)
    parts = [state[kind + place] for kind in kinds for place in places]
    parts += [state["bias_ih" + p] + state["bias_hh" + p] for p in places] if bias else []
    return np.concatenate([part.numpy().reshape(-1) for part in parts]).reshape(-1, 1, 1)


def flat_gpu(module):
    """Lay out an LSTM as cuDNN does."""
    state, places = module.state_dict(), _places(module)
    parts = [state[kind + p] for p in places for kind in ("weight_ih", "weight_hh")]
    parts += [state[kind + p] for p in places for kind in ("bias_ih", "bias_hh")]
    return np.concatenate([part.numpy().reshape(-1) for part in parts]).reshape(-1, 1, 1)


def _places(module):
    sides = ["", "_reverse"] if module.bidirectional else [""]
    return [f"_l{k}{side}" for k in range(module.num_layers) for side in sides]


def write_ckpt(path, arrays):
    tensors = {name: ArrayTensor(array) for name, array in arrays.items()}
    write(Checkpoint("mindspore-ckpt", tensors), path)
    return path


@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (2, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("layout", ["cpu", "gpu"])
def test_flat_weights_of_before_1_6(tmp_path, layers, directions, layout):
    source = n.torch_recurrent("LSTM", layers, directions)
    flat = flat_cpu(source) if layout == "cpu" else flat_gpu(source)
    path = write_ckpt(tmp_path / "old.ckpt", {"lstm.weight": flat})
    with pytest.raises(ckptconv.DialectError, match="flat_layout='cpu' or flat_layout='gpu'"):
        ckptconv.load(path)
    kind = f"LSTM(hidden_size=4, num_layers={layers}, bidirectional={directions == 2}, bias=True)"
    ckptconv.convert(
        path, tmp_path / "new.ckpt", to="mindspore", kinds={"lstm": kind}, flat_layout=layout
    )
    cell = n.mindspore_recurrent("LSTM", layers, directions)
    n.load_strictly(msnn.CellDict({"lstm": cell}), tmp_path / "new.ckpt")
    x, states = n.inputs("LSTM", layers, directions)
    found, expected = n.run_mindspore(cell, x, states), n.run_torch(source, x, states)
    for one, other in zip(found, expected, strict=True):
        n.close(one, other)


def test_flat_sizes_must_be_the_only_ones(tmp_path):
    flat = flat_cpu(n.torch_recurrent("LSTM"))
    path = write_ckpt(tmp_path / "old.ckpt", {"lstm.weight": flat})
    with pytest.raises(ckptconv.DialectError, match="does not tell the sizes: expected one"):
        ckptconv.convert(path, tmp_path / "x.pt", to="torch", flat_layout="cpu")
    kinds = {"lstm": "LSTM(hidden_size=3, input_size=3)"}
    with pytest.raises(ckptconv.DialectError, match="no sizes give this length"):
        ckptconv.convert(path, tmp_path / "x.pt", to="torch", flat_layout="cpu", kinds=kinds)


def test_ascend_names_of_before_1_6(tmp_path):
    source, arrays = n.torch_recurrent("LSTM", 2, 2), {}
    for place in _places(source):
        part = {
            k: source.state_dict()[k + place].numpy()
            for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        order = np.r_[0:4, 8:12, 4:8, 12:16]  # i,f,g,o → i,g,f,o
        name = ("bw" if "reverse" in place else "fw") + place[2]
        joined = np.concatenate([part["weight_ih"], part["weight_hh"]], 1)[order].T
        arrays[f"lstm.weight_{name}"] = joined.astype("f2")
        arrays[f"lstm.bias_{name}"] = (part["bias_ih"] + part["bias_hh"])[order].astype("f2")
    path = write_ckpt(tmp_path / "ascend.ckpt", arrays)
    ckptconv.convert(path, tmp_path / "new.pt", to="torch", dtype="float32")
    target = n.torch_recurrent("LSTM", 2, 2, seed=9)
    state = torch.load(tmp_path / "new.pt", weights_only=True)
    torch.nn.ModuleDict({"lstm": target}).load_state_dict(state, strict=True)
    x, states = n.inputs("LSTM", 2, 2)
    results = zip(n.run_torch(target, x, states), n.run_torch(source, x, states), strict=True)
    for found, expected in results:
        n.close(found, expected, limit=2e-3)  # the file holds float16


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"fw0": 8, "bw0": 9}, "r.weight_ih_l0_reverse: not what a whole LSTM has"),
        ({"fw0": 8, "fw1": 9}, "r.weight_ih_l1: not what a whole LSTM has"),
        ({"fw0": 8, "fw2": 10}, "r.weight_ih_l1: not what a whole LSTM has"),
        ({"bw0": 8}, "an incomplete recurrent layer"),
    ],
)
def test_ascend_names_of_half_a_layer(tmp_path, shapes, words):
    rng = np.random.default_rng(0)
    arrays = {f"r.weight_{name}": rng.normal(size=(n, 20)) for name, n in shapes.items()}
    arrays |= {f"r.bias_{name}": rng.normal(size=20) for name in shapes}
    path = write_ckpt(tmp_path / "part.ckpt", {k: v.astype("f4") for k, v in arrays.items()})
    with pytest.raises(ckptconv.DialectError, match=words):
        ckptconv.load(path)
    kept = ckptconv.load(path, kinds={"r": "Parameter"})
    assert [layer.path for layer in kept] == list(arrays)


def test_a_bias_of_another_size_is_none_of_ascends(tmp_path):
    arrays = {"r.weight_fw0": np.ones((8, 20), "f4"), "r.bias_fw0": np.ones(12, "f4")}
    path = write_ckpt(tmp_path / "bias.ckpt", arrays)
    with pytest.raises(ckptconv.DialectError, match="not a bias of LSTM on Ascend"):
        ckptconv.load(path)
    whole = write_ckpt(tmp_path / "whole.ckpt", {**arrays, "r.bias_fw0": np.ones(20, "f4")})
    with pytest.raises(ckptconv.DialectError, match="cannot be a GRU"):
        ckptconv.load(whole, kinds={"r": "GRU"})


def test_what_is_said_of_a_flat_layer_counts(tmp_path):
    arrays = {"r.weight": np.arange(180, dtype="f4").reshape(-1, 1, 1)}
    path = write_ckpt(tmp_path / "flat.ckpt", arrays)
    kinds = {"r*": "LSTM(input_size=3, hidden_size=5, batch_first=True, dropout=0.5)"}
    graph = ckptconv.load(path, flat_layout="cpu", kinds=kinds)
    assert graph["r"].attributes["batch_first"] is True
    assert ckptconv.load(path, kinds={"r*": "Conv1d"})["r"].kind == "Conv1d"


@pytest.mark.parametrize("change", ["attention", "sizes", "class"])
def test_names_alone_make_no_transformer(tmp_path, change):
    """linear1 and linear2 keep their names where they are no TransformerEncoderLayer's."""
    parts = {
        "self_attn": torch.nn.MultiheadAttention(4, 2),
        "norm1": torch.nn.LayerNorm(4),
        "norm2": torch.nn.LayerNorm(4),
        "linear1": torch.nn.Linear(4, 6),
        "linear2": torch.nn.Linear(6, 4),
    }
    plain = torch.nn.ModuleDict(parts).state_dict()
    kinds = {"norm*": "LayerNorm"}
    torch.save(plain, tmp_path / "m.pt")
    told = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", kinds=kinds)
    assert {layer.path for layer in told.layers} >= {"dense1", "dense2"}
    other = {"attention": ("self_attn", torch.nn.LSTM(4, 4)),
             "sizes": ("linear2", torch.nn.Linear(4, 6))}  # fmt: skip
    if change in other:
        parts |= dict([other[change]])
        torch.save(torch.nn.ModuleDict(parts).state_dict(), tmp_path / "n.pt")
        report = ckptconv.convert(
            tmp_path / "n.pt", tmp_path / "n.ckpt", to="mindspore", kinds=kinds
        )
        names = {layer.path for layer in report.layers}
    else:
        graph = ckptconv.from_torch(torch.nn.ModuleDict(parts))  # whose class is no Transformer's
        names = {name.rpartition(".")[0] for name in ckptconv.to_state_dict(graph, "mindspore")}
    assert names >= {"linear1", "linear2"}


def test_a_convolution_along_one_axis_is_not_guessed(tmp_path):
    arrays = {"thing.weight": np.ones((4, 3, 1, 5), "f4"), "norm.gamma": np.ones(2, "f4")}
    arrays["norm.beta"] = arrays["norm.gamma"]
    path = write_ckpt(tmp_path / "c.ckpt", arrays)
    with pytest.raises(ckptconv.AmbiguousKindError, match=r"{'thing': 'Conv1d'}"):
        ckptconv.load(path)
    ckptconv.convert(path, tmp_path / "c.pt", to="torch", kinds={"thing": "Conv1d"})
    assert torch.load(tmp_path / "c.pt", weights_only=True)["thing.weight"].shape == (4, 3, 5)


def test_mindspores_safetensors(tmp_path):
    cell = n.mindspore_recurrent("GRU", 2, 2)
    ms.save_checkpoint(cell, str(tmp_path / "m.safetensors"), format="safetensors")
    ckptconv.convert(tmp_path / "m.safetensors", tmp_path / "m.pt", to="torch")
    target = n.torch_recurrent("GRU", 2, 2)
    target.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True), strict=True)
    x, states = n.inputs("GRU", 2, 2)
    found, expected = n.run_torch(target, x, states), n.run_mindspore(cell, x, states)
    for one, other in zip(found, expected, strict=True):
        n.close(one, other)


def test_the_real_checkpoint(real, tmp_path):
    path = real / "mindspore" / "mindscience__deep_lstm_MRF-DBF.ckpt"
    report = ckptconv.convert(path, tmp_path / "r.pt", to="torch")
    loaded, state = ms.load_checkpoint(str(path)), torch.load(tmp_path / "r.pt", weights_only=True)
    assert sum(layer.kind == "LSTM" for layer in report.layers) == 2
    for entry in report.tensors:
        expected = np.squeeze(loaded[entry.sources[0]].asnumpy())
        np.testing.assert_array_equal(state[entry.target].numpy().squeeze(), expected)


def test_a_dilation_that_mindspore_does_not_take_is_refused():
    graph = ckptconv.from_torch(torch.nn.Sequential(torch.nn.ConvTranspose3d(2, 3, 3, dilation=2)))
    with pytest.raises(ValueError, match="depth of parameter 'dilation' must be 1"):
        ms.nn.Conv3dTranspose(2, 3, 3, dilation=2)
    with pytest.raises(ckptconv.LossyError, match="0: mindspore's Conv3dTranspose has no such"):
        ckptconv.to_state_dict(graph, "mindspore")
    shallow = torch.nn.Sequential(torch.nn.ConvTranspose3d(2, 3, 3, dilation=(1, 2, 2)))
    assert ckptconv.to_state_dict(ckptconv.from_torch(shallow), "mindspore")


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("LayerNorm", ((4,),)),
        ("GroupNorm", (2, 4)),
        ("BatchNorm1d", (4,)),
        ("Conv1d", (4, 6, 3)),
        ("PReLU", (4,)),
    ],
)
def test_what_is_assumed_of_mint_is_what_mint_does(kind, arguments, tmp_path):
    """nn.LayerNorm's epsilon is 1e-7 and nn.Conv1d pads; mint's have torch's defaults.

    Their settings are compared: most of mint's layers do not run on CPU.
    """
    from mindspore import mint

    held = msnn.CellDict({"m": getattr(mint.nn, kind)(*arguments)})
    ms.save_checkpoint(held, str(tmp_path / "m.ckpt"))
    said = f"{kind}(num_groups=2)" if kind == "GroupNorm" else kind
    report = ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "m.pt", to="torch", kinds={"m": said})
    (layer,) = report.layers
    assert ("eps (1e-05 is assumed)" in layer.unknown) == ("Norm" in kind)
    made = eval(layer.constructor, {"nn": torch.nn})
    names = ("eps", "momentum", "stride", "padding", "dilation", "groups", "num_groups")
    both = [name for name in names if hasattr(held["m"], name) and hasattr(made, name)]
    assert both or kind == "PReLU"
    for name in both:
        assert getattr(made, name) == pytest.approx(getattr(held["m"], name)), name
