"""--fuse and --split against torch running both networks."""

from __future__ import annotations

import pytest
import torch

import ckptconv
from ckptconv.passes import stack
from tests import networks as n


def save(path, modules):
    state = {f"{name}.{k}": v for name, m in modules.items() for k, v in m.state_dict().items()}
    torch.save(state, path)
    return path


@pytest.mark.parametrize("kind", n.KINDS)
@pytest.mark.parametrize("directions", [1, 2])
def test_split_then_fuse(tmp_path, kind, directions):
    whole = n.torch_recurrent(kind, 3, directions)
    path = save(tmp_path / "whole.pt", {"rnn": whole})
    ckptconv.convert(path, tmp_path / "parts.pt", to="torch", split=["rnn"])
    state = torch.load(tmp_path / "parts.pt", weights_only=True)
    x, states = n.inputs(kind, 3, directions)
    expected, h = n.run_torch(whole, x, states)[0], x
    for k in range(3):
        options = {"nonlinearity": kind.split()[1]} if " " in kind else {}
        part = getattr(torch.nn, kind.split()[0])(
            h.shape[-1], n.HIDDEN, batch_first=True, bidirectional=directions == 2, **options
        )
        own = {key.removeprefix(f"rnn_{k}."): v for key, v in state.items() if f"rnn_{k}." in key}
        part.load_state_dict(own, strict=True)
        h = n.run_torch(part, h, states[:, directions * k : directions * (k + 1)].copy())[0]
    n.close(h, expected, 1e-7)
    parts = ("rnn_0", "rnn_1", "rnn_2")
    ckptconv.convert(tmp_path / "parts.pt", tmp_path / "back.pt", to="torch", fuse=[("rnn", parts)])
    back = torch.load(tmp_path / "back.pt", weights_only=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(back[f"rnn.{name}"], value)


def test_layers_of_several_levels_are_fused(tmp_path):
    first = n.torch_recurrent("LSTM", 2, 2, seed=1)
    second = n.fill(torch.nn.LSTM(2 * n.HIDDEN, n.HIDDEN, 3, batch_first=True, bidirectional=True))
    path = save(tmp_path / "m.pt", {"a": first, "b": second})
    ckptconv.convert(path, tmp_path / "one.pt", to="torch", fuse=[("rnn", ("a", "b"))])
    state = torch.load(tmp_path / "one.pt", weights_only=True)
    whole = n.torch_recurrent("LSTM", 5, 2)
    whole.load_state_dict({k.removeprefix("rnn."): v for k, v in state.items()}, strict=True)
    x, states = n.inputs("LSTM", 5, 2)
    between = n.run_torch(first, x, states[:, :4].copy())[0]
    expected = n.run_torch(second, between, states[:, 4:].copy())[0]
    n.close(n.run_torch(whole, x, states)[0], expected, 1e-7)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("a", "c"), "do not follow one another"),
        (("a", "b"), "the hidden size of b does not fit a"),
        (("c", "d"), "the kind of d does not fit c"),
        (("a", "nothing"), "nothing: no recurrent layer of this path"),
        (("d", "e"), "the input size of e does not fit d"),
    ],
)
def test_what_is_not_one_layer(tmp_path, parts, message):
    nn = torch.nn
    modules = {
        "a": nn.LSTM(3, 4),
        "b": nn.LSTM(4, 5),
        "c": nn.LSTM(5, 5),
        "d": nn.GRU(5, 5),
        "e": nn.GRU(6, 5),
    }
    path = save(tmp_path / "m.pt", modules)
    with pytest.raises(ckptconv.DialectError, match=message):
        ckptconv.convert(path, tmp_path / "x.pt", to="torch", fuse=[("new", parts)])


def test_layers_whose_axes_differ_are_not_one():
    nn = torch.nn
    modules = {"a": nn.LSTM(3, 5, batch_first=True), "b": nn.LSTM(5, 5)}
    torch.manual_seed(0)
    graph = ckptconv.from_torch(nn.ModuleDict(modules))
    with pytest.raises(ckptconv.DialectError, match="the batch_first of b does not fit a"):
        stack.fuse(graph, "new", ["a", "b"])


def test_what_acted_between_the_levels_is_told():
    deep = torch.nn.ModuleDict({"r": torch.nn.LSTM(3, 5, 2, dropout=0.4)})
    first, last = stack.split(ckptconv.from_torch(deep), "r")
    assert "dropout" not in first.attributes
    assert first.notes == ("dropout=0.4 of its output: a Dropout before the next layer",)
    assert last.notes == ()


@pytest.mark.parametrize("after", [torch.nn.LSTM(3, 8, proj_size=3), torch.nn.LSTM(3, 3)])
def test_layers_of_other_projections_are_not_one(after):
    graph = ckptconv.from_torch(
        torch.nn.ModuleDict({"a": torch.nn.LSTM(5, 6, proj_size=3), "b": after})
    )
    with pytest.raises(ckptconv.DialectError, match="the hidden size of b does not fit a"):
        stack.fuse(graph, "new", ["a", "b"])
