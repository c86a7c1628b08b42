"""Every file that a torch user calls model.pt, converted and judged by MindSpore."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from ckptconv.errors import DialectError
from tests import networks as n
from tests.conftest import ROOT
from tests.formats.torch.files import FILES, SUFFIXES, TELLING, TOKENS, Tagger, prefixed

ms = pytest.importorskip("mindspore")
from mindspore import nn as msnn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


class Target(msnn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.embed = msnn.Embedding(11, 3, padding_idx=0)
        self.lstm = msnn.LSTM(3, 4, 2, batch_first=True, bidirectional=True, dropout=0.25)
        self.gru = msnn.GRU(8, 6, batch_first=True)
        self.ln = msnn.LayerNorm((6,), epsilon=1e-3)
        self.fc = msnn.Dense(6, 2, has_bias=False)

    def construct(self, tokens: Any) -> Any:
        return self.fc(self.ln(self.gru(self.lstm(self.embed(tokens))[0])[0]))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return n.fill(Tagger())


@pytest.fixture(scope="module")
def target() -> msnn.Cell:
    return Target().set_train(False)


@pytest.mark.parametrize("kind", FILES)
def test_every_file(tmp_path: Path, model: nn.Module, target: msnn.Cell, kind: str) -> None:
    path = tmp_path / SUFFIXES.get(kind.partition(",")[0], "m.pt")
    FILES[kind](model, path)
    # Shards stand in no model's order: what feeds what is not told there.
    said = {"embed": "Embedding", "fc": "Linear"} if kind.startswith("shards") else {}
    report = ckptconv.convert(
        path, tmp_path / "out.ckpt", to="mindspore", rename=_advised(path), kinds=said
    )
    loaded = n.load_strictly(target, tmp_path / "out.ckpt")
    table = {"embed.weight": "embed.embedding_table", "ln.weight": "ln.gamma", "ln.bias": "ln.beta"}
    for name, value in model.state_dict().items():
        found = loaded[table.get(name, name)].asnumpy()
        assert found.tobytes() == value.numpy().tobytes(), name
    with torch.no_grad():
        expected = model(torch.from_numpy(TOKENS)).numpy()
    n.close(target(ms.Tensor(TOKENS)).asnumpy(), expected)
    layers = {layer.path: layer for layer in report.layers}
    if kind in TELLING:
        assert "batch_first=True" in layers["lstm"].constructor
        assert "dropout=0.25" in layers["lstm"].constructor
        assert "padding_idx=0" in layers["embed"].constructor
        assert "epsilon=0.001" in layers["ln"].constructor
        assert layers["lstm"].unknown == []
    elif kind != "traced":
        unknown = " ".join(layers["lstm"].unknown)
        assert "batch_first" in unknown
        assert "dropout" in unknown
        assert "eps" in " ".join(layers["ln"].unknown)
    accounted = {name for entry in report.tensors for name in entry.sources} | set(report.omitted)
    assert accounted >= set(ckptconv.inspect(path).tensors)


def _advised(path: Path) -> list[tuple[str, str]]:
    """Follow the note on a prefix that nothing proves to be a wrapper's."""
    notes = "; ".join(ckptconv.load(path).notes)
    return [pair for said in re.findall(r"rename=({.*?})", notes) for pair in eval(said).items()]


def test_the_networks_own_prefix_is_kept(tmp_path: Path, model: nn.Module) -> None:
    for prefix in ("module.", "model.", "net."):
        torch.save(prefixed(model, prefix), tmp_path / "m.pt")
        report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "n.pt", to="torch", force=True)
        assert all(entry.target.startswith(prefix) for entry in report.tensors)
        assert any(f"all names begin with '{prefix}'" in note for note in report.notes)


def test_an_average_beside_the_model_is_no_part_of_it(tmp_path: Path, model: nn.Module) -> None:
    average = torch.optim.swa_utils.AveragedModel(model)
    torch.save({"model": model.state_dict(), "swa_model": average.state_dict()}, tmp_path / "m.pt")
    with pytest.raises(ckptconv.SeveralError) as caught:
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    assert caught.value.choices == ("model", "swa_model", "*")


def test_an_archive_of_checkpoints_says_what_to_extract(tmp_path: Path, model: nn.Module) -> None:
    """What Stable-Baselines saves."""
    torch.save(model.state_dict(), tmp_path / "policy.pth")
    with zipfile.ZipFile(tmp_path / "agent.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.write(tmp_path / "policy.pth", "policy.pth")
    with pytest.raises(ckptconv.ContainerError, match=r"try extracting policy\.pth"):
        ckptconv.inspect(tmp_path / "agent.zip")


def test_flattened_weights_are_no_layers(tmp_path: Path) -> None:
    torch.save({"_flat_param": torch.ones(9), "fc._flat_param": torch.ones(7)}, tmp_path / "m.pt")
    with pytest.raises(ckptconv.DialectError, match="FULL_STATE_DICT"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")


def test_what_is_taken_off_is_said(tmp_path: Path, model: nn.Module) -> None:
    FILES["AveragedModel"](model, tmp_path / "a.pt")
    report = ckptconv.convert(tmp_path / "a.pt", tmp_path / "a.ckpt", to="mindspore")
    assert report.omitted == {"n_averaged": "how many models AveragedModel has averaged"}
    assert "the prefix 'module.' of AveragedModel was taken off all names" in report.notes
    FILES["compiled part"](model, tmp_path / "b.pt")
    report = ckptconv.convert(tmp_path / "b.pt", tmp_path / "b.ckpt", to="mindspore")
    assert "'_orig_mod.' of torch.compile was taken out of the names" in report.notes
    FILES["Lightning"](model, tmp_path / "c.pt")
    report = ckptconv.convert(tmp_path / "c.pt", tmp_path / "c.ckpt", to="mindspore")
    assert report.omitted["pytorch-lightning_version"] == "beside the selected weights: '2.5.0'"
    assert report.omitted["optimizer_states"] == "beside the selected weights: 72 tensors"


def test_names_that_meet_without_their_prefix(tmp_path: Path) -> None:
    state = {"fc.weight": torch.ones(2, 3), "_orig_mod.fc.weight": torch.ones(2, 3)}
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(DialectError, match=r"fc\.weight: stands in the file with a wrapper's"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    torch.save({"n_averaged": torch.tensor(3), "fc.bias": torch.ones(2)}, tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    assert {tensor.target for tensor in report.tensors} == {"n_averaged", "fc.bias"}


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_module_whose_source_is_gone(tmp_path: Path, container: str) -> None:
    """Saved by a process that has the class, read by one that has not and may start nothing."""
    (tmp_path / "vanishing.py").write_text(
        textwrap.dedent("""
            from torch import nn

            class Model(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.embed = nn.Embedding(9, 3, padding_idx=0)
                    self.rnn = nn.RNN(3, 4, 2, nonlinearity="relu", batch_first=True, dropout=0.5)
                    self.cell = nn.RNNCell(4, 4, nonlinearity="relu")
                    self.norm = nn.LayerNorm(4, eps=1e-3)
                    self.conv = nn.Conv1d(4, 4, 3, stride=2, padding=1)
            """)
    )
    save = textwrap.dedent(f"""
        import torch, vanishing
        torch.manual_seed(0)
        model = vanishing.Model()
        new = {container == "zip"}
        torch.save(model, "m.pt", _use_new_zipfile_serialization=new)
        torch.save(model.state_dict(), "state.pt")
        """)
    subprocess.run([sys.executable, "-c", save], cwd=tmp_path, check=True)
    (tmp_path / "vanishing.py").unlink()
    convert = [sys.executable, "-m", "ckptconv", "torch2ms", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = {}
    for source in ("m.pt", "state.pt"):
        more = [] if source == "m.pt" else ["--kind", "norm=LayerNorm", "--kind", "conv=Conv1d"]
        done = subprocess.run(
            [*convert, source, *more, "-o", source + ".ckpt"],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
        )
        found[source] = {layer["path"]: layer for layer in json.loads(done.stdout)["layers"]}
    whole, state = found["m.pt"], found["state.pt"]
    told = {
        "embed": ["padding_idx=0"],
        "rnn": ["nonlinearity='relu'", "batch_first=True", "dropout=0.5"],
        "cell": ["nonlinearity='relu'"],
        "norm": ["epsilon=0.001"],
        "conv": ["stride=2", "padding=1"],
    }
    for path, arguments in told.items():
        assert all(a in whole[path]["constructor"] for a in arguments), whole[path]["constructor"]
        assert whole[path]["unknown"] == []
        assert all(a.partition("=")[0][:3] in str(state[path]["unknown"]) for a in arguments)
    bare = ckptconv.inspect(tmp_path / "m.pt").modules[""]
    assert bare.class_name == "vanishing.Model"
    loaded = ms.load_checkpoint(str(tmp_path / "m.pt.ckpt"))
    expected = ms.load_checkpoint(str(tmp_path / "state.pt.ckpt"))
    assert {k: v.asnumpy().tobytes() for k, v in loaded.items()} == {
        k: v.asnumpy().tobytes() for k, v in expected.items()
    }


REAL = {
    # file → recurrent layers in it
    "OpenNMT-py__2017_test_model2_sgd.pt": ["LSTM", "LSTMCell", "LSTMCell"],
    "allennlp-models__2018_event2mind.th": ["GRU", "GRUCell", "GRUCell", "GRUCell"],
    "allennlp-models__generation_copynet_best.th": ["LSTM", "LSTMCell"],
    "allennlp-models__pair_classification_esim_best.th": ["LSTM", "LSTM"],
    "silero-vad__v4_silero_vad.jit": ["LSTM", "LSTM"],
}


@pytest.mark.parametrize("name", REAL)
def test_third_party_files(real: Path, tmp_path: Path, name: str) -> None:
    """Each layer is built by the call that the report prints, and loaded strictly."""
    select = "model" if "OpenNMT" in name else None
    path = real / "torch" / name
    kinds: dict[str, str] = {}
    try:
        ckptconv.convert(path, tmp_path / "m.ckpt", to="mindspore", select=select, dry_run=True)
    except ckptconv.AmbiguousKindError as error:  # one round of questions, answered as it proposes
        kinds = {path: fitting[0] for path, fitting in error.choices.items()}
    report = ckptconv.convert(path, tmp_path / "m.ckpt", to="mindspore", select=select, kinds=kinds)
    loaded = ms.load_checkpoint(str(tmp_path / "m.ckpt"))
    assert set(loaded) == {entry.target for entry in report.tensors}
    source = ckptconv.inspect(path, select=select)
    for layer in report.layers:
        values = {entry.target: loaded[entry.target] for entry in layer.tensors}
        for entry in layer.tensors:
            value = source.tensors[entry.sources[0]].numpy()
            assert values[entry.target].asnumpy().tobytes() == value.tobytes()
        if layer.constructor:
            cell = msnn.CellDict({"cell": eval(layer.constructor, {"nn": msnn})})
            own = {f"cell.{n.removeprefix(f'{layer.path}.')}": value for n, value in values.items()}
            assert ms.load_param_into_net(cell, own, strict_load=True) == ([], [])
    recurrent = [layer.kind for layer in report.layers if "weight_hh" in str(layer.tensors)]
    assert sorted(recurrent) == sorted(REAL[name])


def tied(path: Path) -> nn.Module:
    network = nn.Module()
    network.embed, network.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
    network.head.weight = network.embed.weight
    torch.save(network.state_dict(), path)
    return network


def test_ties(tmp_path: Path) -> None:
    """Written once where the container can; where it cannot, the report says so."""
    network = tied(tmp_path / "m.pt")
    kinds = {"embed": "Embedding", "head": "Linear"}
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "n.pt", to="torch")
    assert report.notes == [
        "embed.weight, head.weight: one tensor in the source, and one storage here"
    ]
    found = torch.load(tmp_path / "n.pt", weights_only=True)
    assert found["embed.weight"].data_ptr() == found["head.weight"].data_ptr()
    for to, name in (("mindspore", "n.ckpt"), ("torch", "n.safetensors"), ("keras", "n.h5")):
        report = ckptconv.convert(tmp_path / "m.pt", tmp_path / name, to=to, kinds=kinds)
        assert (
            "embed.weight, head.weight: one tensor in the source; here each has values of its own: "
            "tie them in the network, once loaded" in report.notes
        )
        advice = "like='TARGET', which a tied network saved, gives it its names"
        if to == "keras":
            advice += ", and drop=['PATH'] leaves out the layer that it has not"
        assert report.notes.count(advice) == 1
    loaded = ms.load_checkpoint(str(tmp_path / "n.ckpt"))
    for name in ("embed.embedding_table", "head.weight"):
        expected = network.embed.weight.detach().numpy()
        np.testing.assert_array_equal(loaded[name].asnumpy(), expected)


def test_a_tied_keras_network_loads_what_was_made_like_it(tmp_path: Path) -> None:
    import keras

    network = tied(tmp_path / "m.pt")
    embed = keras.layers.ReversibleEmbedding(7, 4, name="embed")
    given = keras.Input((5,))
    model = keras.Model(given, embed(embed(given), reverse=True))
    model.save_weights(tmp_path / "like.weights.h5")
    target = tmp_path / "n.weights.h5"
    ckptconv.convert(
        tmp_path / "m.pt", target, to="keras", like=tmp_path / "like.weights.h5", drop=["head"]
    )
    model.load_weights(target)
    tokens = torch.arange(5)[None]
    expected = network.head(network.embed(tokens)).detach().numpy()
    found = keras.ops.convert_to_numpy(model(tokens.numpy()))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["n.ckpt", "n.safetensors"])
def test_a_tied_network_loads_what_was_made_like_it(tmp_path: Path, name: str) -> None:
    """One that is tied before it loads has one name, and MindSpore reports the other."""
    source = tied(tmp_path / "m.pt").embed.weight.detach().numpy()
    cell = msnn.CellDict({"embed": msnn.Embedding(7, 4), "head": msnn.Dense(4, 7, has_bias=False)})
    cell["head"].weight = cell["embed"].embedding_table
    ms.save_checkpoint(cell, str(tmp_path / "like.ckpt"))
    options = {"to": "mindspore", "kinds": {"embed": "Embedding", "head": "Linear"}}
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / name, like=tmp_path / "like.ckpt", **options
    )
    assert not any("tied network" in note for note in report.notes)
    form = "ckpt" if name.endswith("ckpt") else "safetensors"
    loaded = ms.load_checkpoint(str(tmp_path / name), format=form)
    assert ms.load_param_into_net(cell, loaded, strict_load=True) == ([], [])
    np.testing.assert_array_equal(cell["head"].weight.asnumpy(), source)
