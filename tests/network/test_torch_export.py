"""Networks of torch.export archives, held against the models themselves."""

from __future__ import annotations

import json
import re
import zipfile

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv import networks
from ckptconv.options import ReadOptions
from tests.network import torch_functions
from tests.network.torch_models import exported, models
from tests.network.written import check_text, close, flat, run_mindspore, run_torch, written
from tests.networks import fill

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def wanted(model, inputs):
    results = model(*inputs)
    values = results.values() if isinstance(results, dict) else flat(results)
    return [value.detach().numpy() for value in values if value is not None]


@pytest.mark.parametrize("name", models())
def test_in_torch(name, tmp_path):
    model, inputs = exported(name, tmp_path / "m.pt2")
    module, weights, _ = written(tmp_path / "m.pt2", "torch", tmp_path)
    found = run_torch(module, weights, [x.numpy() for x in inputs])
    close(found, wanted(model, inputs), 1e-6)
    ckptconv.convert(tmp_path / "m.pt2", tmp_path / "m.ckpt", to="mindspore",
                     network=tmp_path / "mindspore_net.py")  # fmt: skip
    check_text(tmp_path)


@pytest.mark.parametrize("name", torch_functions.FUNCTIONS)
def test_a_function_is_computed_or_refused_by_name(name, tmp_path):
    model, inputs, refused = torch_functions.exported(name, tmp_path / "m.pt2")
    if refused:
        with pytest.raises(ckptconv.CkptconvError, match=re.escape(refused)):
            written(tmp_path / "m.pt2", "torch", tmp_path)
        return
    module, weights, _ = written(tmp_path / "m.pt2", "torch", tmp_path)
    for given in inputs:
        arrays, expected = [x.numpy() for x in given], wanted(model, given)
        found = run_torch(module, weights, arrays)
        close(found, expected, 1e-6)
        assert [value.dtype for value in found] == [value.dtype for value in expected]


@pytest.mark.parametrize(
    "name",
    [
        *("parts of free axes", "sizes of free axes", "whole and true", "zeros of a dtype"),
        *("bounds", "masks of attention", "places", "by places", "statistics", "edges", "products"),
        *("in parts", "in place twice", "zeros that changed"),
        *("kernels of no layer", "constants of one number", "infinite constant", "constants"),
        *("a mask of which a row lets nothing through", "other sizes", "what numbers are"),
        *("bools that are filled", "nothing", "regions"),
        *("axes of a norm", "all axes of a norm"),
    ],
)
def test_a_function_in_mindspore(name, tmp_path):
    model, inputs, _ = torch_functions.exported(name, tmp_path / "m.pt2")
    module, weights, _ = written(tmp_path / "m.pt2", "mindspore", tmp_path)
    for given in inputs:
        found = run_mindspore(module, weights, [x.numpy() for x in given])
        close(found, wanted(model, given), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", models())
def test_in_mindspore(name, tmp_path):
    in_mindspore(name, tmp_path)


def test_one_in_mindspore(tmp_path):
    in_mindspore("sentiment", tmp_path)


def in_mindspore(name, folder):
    import mindspore as ms

    model, inputs = exported(name, folder / "m.pt2")
    module, weights, _ = written(folder / "m.pt2", "mindspore", folder)
    module.export(str(weights), str(folder / "m.mindir"))
    arrays = [x.numpy() for x in inputs]
    for network in (module.load(str(weights)), module.open_mindir(str(folder / "m.mindir"))):
        found = [value.asnumpy() for value in flat(network(*map(ms.Tensor, arrays)))]
        close(found, wanted(model, inputs), 5e-6)


def test_packed_sequences_are_refused_by_name(tmp_path):
    """torch itself exports none into a recurrent layer; into others it does."""
    import torch
    from torch import nn

    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 4)

        def forward(self, x, lengths):
            return self.fc(torch._VF._pack_padded_sequence(x, lengths, True)[0])

    inputs = (torch.randn(2, 5, 3), torch.tensor([5, 3]))
    torch.export.save(torch.export.export(Packed().eval(), inputs), tmp_path / "m.pt2")
    with pytest.raises(ckptconv.LossyError, match=r"_pack_padded_sequence .*; try padding"):
        written(tmp_path / "m.pt2", "torch", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


def test_a_projection_is_refused_for_mindspore_with_a_way_that_exists(tmp_path):
    import torch

    model = torch.nn.LSTM(3, 4, proj_size=2)
    torch.export.save(torch.export.export(model, (torch.randn(2, 5, 3),)), tmp_path / "m.pt2")
    with pytest.raises(ckptconv.LossyError, match="try fold_proj=True; without network"):
        written(tmp_path / "m.pt2", "mindspore", tmp_path)


def test_inputs_are_those_of_the_program(tmp_path):
    exported("states", tmp_path / "m.pt2")
    network = ckptconv.network(tmp_path / "m.pt2")
    assert [value.shape for value in network.inputs] == [(None, 5, 3), (1, None, 4), (1, None, 4)]
    assert isinstance(network, ckptconv.Network)
    assert np.all([node.op for node in network] == ["recurrent"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_network_of_other_floats_is_refused_rather_than_written_and_not_loaded(dtype, tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 2)).to(dtype).eval()
    program = torch.export.export(model, (torch.ones(2, 3, dtype=dtype),))
    torch.export.save(program, tmp_path / "m.pt2")
    with pytest.raises(ckptconv.LossyError, match="layers and inputs of float32"):
        written(tmp_path / "m.pt2", "mindspore", tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda said, _: said.update(tensor_meta=3),
        lambda said, _: said["tensor_meta"].update(dtype=5),
        lambda said, _: said.update(path_name="tensor_9"),
        lambda said, _: said.update(path_name=[]),
        lambda _, members: members.update(dict.fromkeys(members, b"xyz")),
    ],
)
def test_damaged_constants(damage, tmp_path):
    torch_functions.exported("constants of one number", tmp_path / "m.pt2")
    place = "m/data/constants/"
    config = f"{place}model_constants_config.json"
    with zipfile.ZipFile(tmp_path / "m.pt2") as source:
        held = {name: source.read(name) for name in source.namelist()}
    said = json.loads(held.pop(config))
    members = {name: data for name, data in held.items() if name.startswith(place)}
    damage(next(iter(said["config"].values())), members)
    with zipfile.ZipFile(tmp_path / "n.pt2", "w") as target:
        for name, data in {**held, **members, config: json.dumps(said)}.items():
            target.writestr(name, data)
    with pytest.raises(ckptconv.CkptconvError):
        ckptconv.network(tmp_path / "n.pt2")


def test_constants_are_weights_of_a_network_alone(tmp_path):
    model, _, _ = torch_functions.exported("constants", tmp_path / "m.pt2")
    src, dst, home = (tmp_path / name for name in ("m.pt2", "m.ckpt", "home.pt"))
    assert {"plain", "table"} < ckptconv.convert(
        src, tmp_path / "x.ckpt", to="mindspore"
    ).omitted.keys()
    report = ckptconv.convert(src, dst, to="mindspore", network=tmp_path / "net.py")
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    said = {layer.path: layer.attributes for layer in report.layers if layer.kind == "Parameter"}
    fixed = {"persistent": False}
    assert said.pop("kept") == {}
    assert {"plain", "table"} < said.keys()
    assert all(value == fixed for value in said.values())
    assert not report.omitted
    text = (tmp_path / "net.py").read_text()
    assert len(re.findall(r"Parameter\(", text)) == text.count("requires_grad=False")
    assert ckptconv.verify(src, dst).ok
    assert not ckptconv.diff(src, dst).different
    back = ckptconv.convert(dst, home, to="torch", restore=tmp_path / "report.json")
    assert back.omitted.keys() == said.keys()
    assert not [note for note in back.notes if "not there again" in note]
    model.load_state_dict(torch.load(home, weights_only=True))


class Twice(torch.nn.Module):
    """Holds its convolutions as attributes and in a list, as temporal networks are written."""

    def __init__(self, norm):
        super().__init__()
        self.first = norm(torch.nn.Conv1d(4, 4, 3, padding=2))
        self.second = norm(torch.nn.Conv1d(4, 4, 3, padding=2))
        self.net = torch.nn.Sequential(self.first, torch.nn.ReLU(), self.second)
        self.down = torch.nn.Conv1d(4, 4, 1)

    def forward(self, x):
        return self.down(x) + self.net(x)[..., :-4]


@pytest.mark.parametrize("target", ["torch", "mindspore"])
@pytest.mark.parametrize(
    "norm", [torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm, lambda x: x]
)
def test_a_layer_of_two_names_stands_once(norm, target, tmp_path):
    model, x = fill(Twice(norm)), torch.randn(2, 4, 9)
    torch.export.save(torch.export.export(model, (x,)), tmp_path / "m.pt2")
    module, weights, _ = written(tmp_path / "m.pt2", target, tmp_path)
    run = {"torch": run_torch, "mindspore": run_mindspore}[target]
    close(run(module, weights, [x.numpy()]), wanted(model, (x,)), 1e-6)
    graph, network = networks.read(tmp_path / "m.pt2", ReadOptions())
    assert {node.layer for node in network} >= {layer.path for layer in graph}
    assert {name.split(".")[0] for name in graph.omitted} == {"first", "second"}
    assert {rule.partition(" as ")[0] for rule in graph.omitted.values()} == {"the same tensors"}


def test_layers_of_one_tensor_that_are_not_one_are_not_left_out(tmp_path):
    """The second has a bias of its own."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)).eval()
    model[1].weight = model[0].weight
    model[1].forward = lambda x: torch.relu(x)
    torch.export.save(torch.export.export(model, (torch.ones(2, 3),)), tmp_path / "m.pt2")
    with pytest.raises(ckptconv.DialectError, match="unused: layer1"):
        written(tmp_path / "m.pt2", "torch", tmp_path)
