"""--rename: rules on paths, whoever chose the names."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

import ckptconv


@pytest.fixture
def hostile(tmp_path):
    """A file whose names make a pattern try every way of cutting them."""
    weights = {"a" * 4000 + "!.weight": np.ones((2, 3), "f4"), "b.weight": np.ones((2, 3), "f4")}
    save_file(weights, tmp_path / "m.safetensors", {"format": "pt"})
    return tmp_path / "m.safetensors"


def test_groups_and_order(hostile):
    graph = ckptconv.load(hostile, rename=[("^a+(!)$", r"x\1"), ("!$", ""), ("^b", r"\g<0>_1")])
    assert [layer.path for layer in graph] == ["x", "b_1"]


def test_a_pattern_that_takes_too_long_is_stopped(hostile):
    with pytest.raises(ckptconv.CkptconvError, match=r"takes more than 2 s; try a pattern"):
        ckptconv.load(hostile, rename={"(a|a)*$": "x"})


@pytest.mark.parametrize("pattern", ["(", "[z-a]", "(?P<1>x)"])
def test_no_pattern(hostile, pattern):
    with pytest.raises(ckptconv.UsageError, match="not a regular expression"):
        ckptconv.load(hostile, rename={pattern: "x"})


def test_a_group_that_is_not_there(hostile):
    with pytest.raises(ckptconv.UsageError, match="not a regular expression"):
        ckptconv.load(hostile, rename={"^a": r"\1"})


def test_the_root_gets_a_name(tmp_path):
    save_file({"weight": np.ones((2, 3), "f4")}, tmp_path / "m.safetensors", {"format": "pt"})
    graph = ckptconv.load(tmp_path / "m.safetensors", rename={"^": "net."})
    assert [layer.full_name("weight") for layer in graph] == ["net.weight"]


@pytest.mark.parametrize(("pattern", "text"), [("^b", ""), ("^b", "x."), ("^b", "a..c")])
def test_a_path_with_nothing_between_its_dots(tmp_path, pattern, text):
    save_file({"b.c.weight": np.ones((2, 3), "f4")}, tmp_path / "m.safetensors", {"format": "pt"})
    with pytest.raises(ckptconv.DialectError, match="nothing between dots") as told:
        ckptconv.load(tmp_path / "m.safetensors", rename={pattern: text})
    assert ("try rename={'^b[.]': ''}" in str(told.value)) == (not text)


@pytest.mark.parametrize("moved", [{"rename": {"^old": "new"}}, {"map": {"old": "new"}}])
def test_what_is_advised_for_a_moved_module_helps(tmp_path, moved):
    import torch

    torch.save({"old.weight": torch.randn(4, 4)}, tmp_path / "m.pt")
    with pytest.raises(ckptconv.CkptconvError, match=r"old: the file does not tell") as told:
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.h5", to="keras", **moved)
    assert "kinds={'old': 'Linear'}" in str(told.value)
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.h5", to="keras", kinds={"old": "Linear"}, **moved
    )
    assert [(layer.path, layer.kind) for layer in report.layers] == [("new", "Linear")]


FLAT = {"lstm_weight_ih_l0": (32, 5), "lstm_weight_hh_l0": (32, 8), "lstm_bias_ih_l0": (32,)}
FLAT |= {"lstm_bias_hh_l0": (32,), "norm_weight": (8,), "norm_bias": (8,)}
FLAT |= {"fc_weight": (8, 8), "fc_bias": (8,)}
MOVES = [
    {"rename": {"^(lstm|norm|fc)_": r"\1."}},
    {"map": {name: name.replace("_", ".", 1) for name in FLAT}},
]


@pytest.fixture
def flat(tmp_path):
    import torch

    weights = {name: torch.randn(*shape) * 0.3 for name, shape in FLAT.items()}
    torch.save(weights, tmp_path / "flat.pt")
    return tmp_path / "flat.pt", weights


@pytest.mark.parametrize("moved", MOVES, ids=["rename", "map"])
@pytest.mark.parametrize("to", ["keras", "mindspore"])
def test_layers_are_not_made_by_new_names(flat, tmp_path, to, moved):
    """Parameters that stood alone would keep another framework's axes and names."""
    path, _ = flat
    target = tmp_path / ("m.h5" if to == "keras" else "m.ckpt")
    with pytest.raises(ckptconv.DialectError, match="after layers were recognised") as told:
        ckptconv.convert(path, target, to=to, **moved)
    assert "lstm.weight_ih_l0" in str(told.value)
    assert "try to='torch'; it writes these names to a file" in str(told.value)
    assert not target.exists()
    ckptconv.convert(path, tmp_path / "named.pt", to="torch", **moved)
    kinds = {"norm": "LayerNorm"}
    report = ckptconv.convert(tmp_path / "named.pt", target, to=to, kinds=kinds)
    found = {layer.path: layer.kind for layer in report.layers}
    assert {"lstm": "LSTM", "fc": "Linear"}.items() <= found.items()
    assert found["norm"] == "LayerNorm"


def test_layers_of_new_names_compute_the_same_in_two_steps(flat, tmp_path):
    import keras
    import torch

    path, weights = flat
    ckptconv.convert(path, tmp_path / "named.pt", to="torch", **MOVES[0])
    kinds = {"norm": "LayerNorm"}
    ckptconv.convert(tmp_path / "named.pt", tmp_path / "m.h5", to="keras", kinds=kinds)
    dense = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="fc")])
    dense.load_weights(tmp_path / "m.h5", by_name=True)
    x = torch.randn(3, 8)
    expected = x @ weights["fc_weight"].T + weights["fc_bias"]
    found = keras.ops.convert_to_numpy(dense(x.numpy()))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_parameters_that_keep_their_last_names_may_move(tmp_path):
    """A class of one's own may call its parameters as layers do."""
    import torch

    torch.save({"own.weight": torch.randn(3, 4), "own.gain": torch.ones(2)}, tmp_path / "m.pt")
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", rename={"^own": "net.own"}
    )
    assert [layer.path for layer in report.layers] == ["net.own.weight", "net.own.gain"]
