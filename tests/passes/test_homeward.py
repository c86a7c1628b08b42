"""--restore: home again under the source's own names, bit for bit."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from tests import networks as n


def there_and_back(folder, source, out, back, to, home, **options):
    """Convert to ``out`` and home to ``back``, with the report of the way out."""
    report = ckptconv.convert(source, out, to=to, **options)
    (folder / "report.json").write_text(json.dumps(report.to_dict()))
    return ckptconv.convert(out, back, to=home, restore=folder / "report.json")


@pytest.fixture
def network(tmp_path):
    parts = {
        "rnn": nn.LSTM(3, 4, 2, bidirectional=True),
        "cell": nn.GRUCell(4, 4),
        "fc1": nn.Linear(4, 4),
        "fc2": nn.Linear(4, 4),
    }
    module = n.fill(nn.ModuleDict(parts))
    torch.save(module.state_dict(), tmp_path / "m.pt")
    return module.state_dict()


def test_levels_names_and_biases_come_back(tmp_path, network):
    there_and_back(
        tmp_path,
        tmp_path / "m.pt",
        tmp_path / "m.h5",
        tmp_path / "back.pt",
        "keras",
        "torch",
        rename=[("fc", "dense_")],
    )
    again = torch.load(tmp_path / "back.pt", weights_only=True)
    assert list(again) == list(network)
    assert all(torch.equal(value, again[name]) for name, value in network.items())


def test_the_target_networks_names_are_undone(tmp_path, network):
    like = {f"net.{name.replace('fc', 'out')}": value.shape for name, value in network.items()}
    table = {
        **{f"cell.{p}_{s}": f"net.cell.{s}.{p}" for p in ("weight", "bias") for s in ("ih", "hh")},
        **{name: f"net.{name.replace('fc', 'out')}" for name in ("rnn", "fc1", "fc2")},
    }
    like = {
        f"net.cell.{name[-2:]}.{name[5:-3]}" if "cell" in name else name: shape
        for name, shape in like.items()
        for name in [name.removeprefix("net.") if "cell" in name else name]
    }
    there_and_back(
        tmp_path,
        tmp_path / "m.pt",
        tmp_path / "m.ckpt",
        tmp_path / "back.pt",
        "mindspore",
        "torch",
        map=table,
        like=like,
    )
    again = torch.load(tmp_path / "back.pt", weights_only=True)
    assert again.keys() == network.keys()
    assert all(torch.equal(value, again[name]) for name, value in network.items())


def test_layers_that_were_fused_are_parted(tmp_path):
    keras = pytest.importorskip("keras")
    lstm = keras.layers.LSTM
    layers = [keras.layers.Input((None, 3)), lstm(4, return_sequences=True, name="low")]
    model = keras.Sequential([*layers, lstm(4, name="high")])
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape).astype("f4") for w in model.get_weights()])
    model.save(tmp_path / "m.h5")
    there_and_back(
        tmp_path,
        tmp_path / "m.h5",
        tmp_path / "m.pt",
        tmp_path / "back.h5",
        "torch",
        "keras",
        fuse={"rnn": ["low", "high"]},
    )
    with h5py.File(tmp_path / "back.h5") as file:
        assert list(file.attrs["layer_names"].astype(str)) == ["low", "high"]
    before = model.get_weights()
    model.set_weights([w * 0 for w in before])
    model.load_weights(tmp_path / "back.h5")
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def reported(stem, parts, suffix, **options):
    """Convert a network of these parts; return the file and the report of it."""
    torch.save(n.fill(nn.ModuleDict(parts)).state_dict(), f"{stem}.pt")
    report = ckptconv.convert(f"{stem}.pt", f"{stem}{suffix}", **options).to_dict()
    stem.with_suffix(".json").write_text(json.dumps(report))
    return f"{stem}{suffix}", stem.with_suffix(".json")


FC = {"fc": nn.Linear(3, 4)}


@pytest.mark.parametrize("home", ["torch", "keras"])
@pytest.mark.parametrize(
    ("own", "other", "renamed", "refused"),
    [
        (FC, {"x": nn.Linear(3, 4)}, (), r"tells of no tensor of the file"),
        ({"rnn": nn.LSTM(3, 4)}, {"rnn": nn.GRU(3, 4)}, (), r"rnn: cannot be a GRU"),
        (FC | {"d": nn.Linear(3, 4)}, FC, [("fc", "d")], r"fc: two modules would get this path"),
    ],
)
def test_a_report_of_another_file(tmp_path, own, other, renamed, refused, home):
    file, _ = reported(tmp_path / "own", own, ".ckpt", to="mindspore")
    _, report = reported(tmp_path / "other", other, ".ckpt", to="mindspore", rename=renamed)
    said = rf"other\.json: the report is of another file, .*try restore='REPORT'.*; and .*{refused}"
    with pytest.raises(ckptconv.CkptconvError, match=said):
        ckptconv.convert(
            file, tmp_path / f"home.{'pt' if home == 'torch' else 'h5'}", to=home, restore=report
        )


def test_the_own_report_is_not_called_anothers(tmp_path):
    file, report = reported(tmp_path / "own", FC, ".ckpt", to="mindspore")
    told = json.loads(report.read_text())
    told["layers"][0]["kind"] = "Embedding"
    report.write_text(json.dumps(told))
    with pytest.raises(ckptconv.CkptconvError, match=r"cannot be a Embedding, as") as error:
        ckptconv.load(file, restore=report)
    assert "another file" not in str(error.value)


def test_a_layer_that_was_added_is_asked_about(tmp_path):
    file, report = reported(tmp_path / "own", FC, ".bin", to="torch")
    torch.manual_seed(2)  # of whose axes none stands out
    added = nn.ModuleDict({"new": nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3))})
    torch.save(torch.load(file) | added.state_dict(), file)
    with pytest.raises(ckptconv.AmbiguousKindError, match=r"new.weight: the file does not tell"):
        ckptconv.load(file, restore=report)


def test_a_second_direction_is_no_part_of_a_cell(tmp_path):
    own = {"rnn": nn.LSTM(3, 4, bidirectional=True)}
    file, _ = reported(tmp_path / "own", own, ".h5", to="keras")
    _, report = reported(tmp_path / "other", {"rnn": nn.LSTMCell(3, 4)}, ".h5", to="keras")
    graph = ckptconv.load(file, kinds={"rnn": "LSTM"}, restore=report)
    assert [(layer.kind, len(layer.cells)) for layer in graph.recurrent] == [("LSTM", 2)]


def test_what_is_no_report(tmp_path, network):  # noqa: ARG001
    (tmp_path / "report.json").write_text('{"restore": []}')
    with pytest.raises(ckptconv.CkptconvError, match="not a report of a conversion"):
        ckptconv.load(tmp_path / "m.pt", restore=tmp_path / "report.json")


@pytest.fixture
def norms(tmp_path):
    """Write norms of which MindSpore has more parameters; return their state_dict and kinds."""
    module = n.fill(
        nn.ModuleDict(
            {
                "bn": nn.BatchNorm1d(4, affine=False),
                "every": nn.BatchNorm1d(5, track_running_stats=False),
                "ln": nn.LayerNorm(6, bias=False),
            }
        )
    )
    torch.save(module.state_dict(), tmp_path / "m.pt")
    return module.state_dict(), {"bn": "BatchNorm1d", "every": "BatchNorm1d", "ln": "LayerNorm"}


def test_constants_that_the_target_needed_are_taken_off(tmp_path, norms):
    state, kinds = norms
    back = tmp_path / "back.pt"
    paths = tmp_path / "m.pt", tmp_path / "m.ckpt", back
    report = there_and_back(tmp_path, *paths, "mindspore", "torch", kinds=kinds)
    again = torch.load(back, weights_only=True)
    assert again.keys() == state.keys()
    values = {name: value for name, value in state.items() if value.dim()}
    assert all(torch.equal(value, again[name]) for name, value in values.items())
    assert report.omitted["bn.gamma"] == "restored: added by the conversion"
    assert {entry.evidence for entry in report.layers} == {"the report of its conversion"}


def test_a_constant_that_was_trained_since_stays(tmp_path, norms):
    ms = pytest.importorskip("mindspore")
    source, out = tmp_path / "m.pt", tmp_path / "m.ckpt"
    report = ckptconv.convert(source, out, to="mindspore", kinds=norms[1])
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    trained = {name: p.asnumpy() for name, p in ms.load_checkpoint(str(out)).items()}
    trained["ln.beta"] = trained["ln.beta"] + 0.5
    ms.save_checkpoint([{"name": k, "data": ms.Tensor(v)} for k, v in trained.items()], str(out))
    restore = tmp_path / "report.json"
    ckptconv.convert(out, tmp_path / "back.pt", to="torch", restore=restore)
    again = torch.load(tmp_path / "back.pt", weights_only=True)
    assert torch.equal(again["ln.bias"], torch.full((6,), 0.5))


def test_a_target_network_without_the_constants(tmp_path, norms):
    state, kinds = norms
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", kinds=kinds)
    report = ckptconv.convert(
        tmp_path / "m.ckpt", tmp_path / "back.pt", to="torch", like=tmp_path / "m.pt"
    )
    again = torch.load(tmp_path / "back.pt", weights_only=True)
    assert again.keys() == state.keys()
    assert report.omitted["ln.beta"].startswith("ones and zeros that change nothing")


REMADE = {
    "transposed": {"fc1.weight.T": "w", "fc1.bias": "b"},
    "slices in another order": {
        **{"fc1.weight[0:2]": "w[2:4]", "fc1.weight[2:4]": "w[0:2]", "fc1.bias": "b"},
    },
    "slices": {"fc1.weight[0:2]": "v", "fc1.weight[2:4]": "w", "fc1.bias": "b"},
    "a sum": {"fc1.weight": "w", "fc1.bias + fc2.bias": "b", "fc2.weight": "v"},
}


@pytest.mark.parametrize("table", REMADE.values(), ids=REMADE)
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_what_a_map_has_changed_does_not_get_its_old_names(tmp_path, network, table, dtype):
    assert network["fc1.weight"].shape == (4, 4)
    paths = tmp_path, tmp_path / "m.pt", tmp_path / "out.pt", tmp_path / "back.pt"
    with pytest.raises(ckptconv.CkptconvError, match=r"cannot take back what .* put together"):
        there_and_back(*paths, "torch", "torch", map=table, dtype=dtype)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model."])
def test_a_root_comes_home_under_its_wrapper(tmp_path, prefix):
    source = {f"{prefix}{k}": v for k, v in torch.nn.GRUCell(3, 4).state_dict().items()}
    torch.save(source, tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    ckptconv.convert(
        tmp_path / "m.ckpt", tmp_path / "b.pt", to="torch", restore=tmp_path / "report.json"
    )
    back = torch.load(tmp_path / "b.pt", weights_only=True)
    assert {k: v.tolist() for k, v in back.items()} == {k: v.tolist() for k, v in source.items()}


@pytest.mark.parametrize(("to", "name"), [("mindspore", "m.ckpt"), ("keras", "m.h5")])
def test_parameters_of_no_layer_come_home_as_they_were(tmp_path, to, name):
    own = {"own.gamma": torch.randn(4), "own.beta": torch.randn(4), "mix.kernel": torch.randn(3, 5)}
    source = {"fc.weight": torch.randn(2, 3), "fc.bias": torch.randn(2), **own}
    torch.save(source, tmp_path / "m.pt")
    kinds = {"own": "Parameter", "mix": "Parameter", "fc": "Linear"}
    paths = (tmp_path / "m.pt", tmp_path / name, tmp_path / "b.pt")
    there_and_back(tmp_path, *paths, to, "torch", kinds=kinds)
    back = torch.load(tmp_path / "b.pt", weights_only=True)
    assert {k: v.tolist() for k, v in back.items()} == {k: v.tolist() for k, v in source.items()}


def test_a_prefix_that_is_taken_off_is_not_said_to_be_kept(tmp_path):
    torch.save({"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}, tmp_path / "m.pt")
    paths = (tmp_path / "m.pt", tmp_path / "m.ckpt", tmp_path / "b.pt")
    kept = "all names begin with 'net.'"
    back = there_and_back(tmp_path, *paths, "mindspore", "torch", rename=[("^", "net.")])
    assert not any(kept in note for note in back.notes)
    plain = ckptconv.convert(tmp_path / "m.ckpt", tmp_path / "o.pt", to="torch")
    assert any(kept in note for note in plain.notes)


def test_other_options_speak_of_what_was_given_back(tmp_path, network):  # noqa: ARG001
    paths = (tmp_path / "m.pt", tmp_path / "m.h5")
    report = ckptconv.convert(*paths, to="keras", rename=[("^", "net.")])
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))

    def home(**options):
        return ckptconv.load(tmp_path / "m.h5", restore=tmp_path / "report.json", **options)

    paths = [layer.path for layer in home(rename=[("fc", "dense")])]
    assert paths == ["rnn", "cell", "dense1", "dense2"]
    paths = [layer.path for layer in home(split=["rnn"], map={"fc1": "fc2", "fc2": "fc1"})]
    assert paths == ["rnn_0", "rnn_1", "cell", "fc2", "fc1"]
    with pytest.raises(ckptconv.CkptconvError, match="matches no module"):
        home(rename=[("net", "x")])


def test_names_that_went_round_come_home_with_levels_among_them(tmp_path, network):
    names = ["rnn", "cell", "fc1", "fc2"]
    for step in (1, 2, 3):
        table = dict(zip(names, names[step:] + names[:step], strict=True))
        paths = (tmp_path / "m.pt", tmp_path / f"{step}.weights.h5", tmp_path / f"{step}.pt")
        there_and_back(tmp_path, *paths, "keras", "torch", map=table)
        again = torch.load(paths[2], weights_only=True)
        assert list(again) == list(network)
        assert all(torch.equal(value, again[name]) for name, value in network.items())


def test_levels_come_home_beside_a_layer_that_is_called_as_one_of_them(tmp_path):
    parts = {"low": nn.LSTM(3, 4), "high": nn.LSTM(4, 4), "both_0": nn.Linear(4, 4)}
    network = n.fill(nn.ModuleDict(parts)).state_dict()
    torch.save(network, tmp_path / "m.pt")
    paths = (tmp_path / "m.pt", tmp_path / "m.ckpt", tmp_path / "b.pt")
    fused = {"both": ["low", "high"]}
    there_and_back(tmp_path, *paths, "mindspore", "torch", fuse=fused)
    again = torch.load(tmp_path / "b.pt", weights_only=True)
    assert list(again) == list(network)
    assert all(torch.equal(value, again[name]) for name, value in network.items())


def test_a_layer_of_another_size_is_told(tmp_path, network):  # noqa: ARG001
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore").to_dict()
    (tmp_path / "report.json").write_text(json.dumps(report))
    state = ckptconv.to_state_dict(ckptconv.load(tmp_path / "m.ckpt"), "mindspore")
    state["fc2.weight"], state["fc2.bias"] = np.ones((7, 4), "f4"), np.ones(7, "f4")
    changed = ckptconv.from_state_dict(state, "mindspore")
    ckptconv.save(changed, tmp_path / "n.ckpt", to="mindspore")
    graph = ckptconv.load(tmp_path / "n.ckpt", restore=tmp_path / "report.json")
    assert graph.notes == ("fc2.weight, fc2.bias: not of the shape that the report has",)
    assert not ckptconv.load(tmp_path / "m.ckpt", restore=tmp_path / "report.json").notes


@pytest.mark.parametrize("out", ["m.pt", "m.ckpt"])
@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_slopes_come_home_with_the_axes_that_share_them(tmp_path, suffix, out):
    """The report tells the rank of a PReLU's input, which no other framework's file does."""
    keras = pytest.importorskip("keras")
    x = keras.Input((6, 6, 3))
    y = keras.layers.PReLU(shared_axes=[1, 2])(keras.layers.Conv2D(4, 3)(x))
    y = keras.layers.PReLU()(keras.layers.Dense(5)(keras.layers.Flatten()(y)))
    model = keras.Model(x, y)
    rng = np.random.default_rng(2)
    values = [rng.uniform(0.1, 0.9, weight.shape).astype("f4") for weight in model.weights]
    model.set_weights(values)
    model.save(tmp_path / "m.h5")
    to, back = ("torch" if out == "m.pt" else "mindspore"), tmp_path / f"back{suffix}"
    there_and_back(tmp_path, tmp_path / "m.h5", tmp_path / out, back, to, "keras")
    model.set_weights([np.zeros_like(value) for value in values])
    model.load_weights(back)
    assert all(map(np.array_equal, model.get_weights(), values))
