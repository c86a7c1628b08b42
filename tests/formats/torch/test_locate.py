"""Where the weights are: training checkpoints and whole modules, in every container."""

from __future__ import annotations

import argparse
import builtins
import importlib
import os
import pathlib
import socket
import subprocess
import sys
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ckptconv.checkpoint import Checkpoint, Module
from ckptconv.errors import ContainerError, SeveralError
from ckptconv.formats import read
from tests.torch_samples import assert_same

ZIPPED = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(path: Path, value: object, zipped: bool = True, select: str | None = None) -> Checkpoint:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return read(path, select=select)


def model() -> nn.Sequential:
    return nn.Sequential(nn.Embedding(5, 3), nn.LSTM(3, 4, batch_first=True), nn.BatchNorm1d(4))


def training(network: nn.Module, key: str) -> dict[str, Any]:
    optimizer = torch.optim.Adam(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "epoch": 7,
        "best": np.float64(0.25),
        "args": argparse.Namespace(lr=0.1, path=pathlib.Path("runs")),
        "loss": torch.tensor(3.0),
        key: network.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "optimizer": optimizer,
        "history": defaultdict(list, loss=[1.0, 2.0]),
        "rng": torch.get_rng_state(),
    }


@ZIPPED
@pytest.mark.parametrize(
    "key", ["state_dict", "model_state_dict", "model", "net", "ema", "my_own_weights"]
)
def test_training_checkpoints(tmp_path: Path, key: str, zipped: bool) -> None:
    network = model()
    value = training(network, key)
    checkpoint = saved(tmp_path / "x.pt", value, zipped)
    assert_same(checkpoint.tensors, network.state_dict())
    assert checkpoint.modules["2"] == Module(version=2)
    assert checkpoint.facts.selected == key
    assert checkpoint.notes == (f"the weights stand under {key!r} in the file",)
    count = 3 * len(list(network.parameters()))
    assert checkpoint.omitted["optimizer_state_dict"] == (
        f"beside the selected weights: {count} tensors"
    )
    assert checkpoint.omitted["epoch"] == "beside the selected weights: 7"
    assert checkpoint.omitted["args"] == "beside the selected weights: argparse.Namespace"
    assert checkpoint.omitted.keys() | {key} == value.keys()


def test_nested_places_and_selection(tmp_path: Path) -> None:
    one, two = model().state_dict(), nn.GRU(3, 4).state_dict()
    value = {"a": {"model": {"weights": one}, "step": 1}, "b": 2}
    checkpoint = saved(tmp_path / "x.pt", value)
    assert_same(checkpoint.tensors, one)
    assert checkpoint.facts.selected == "a.model.weights"
    assert checkpoint.omitted.keys() == {"a.step", "b"}
    value = {"model": one, "ema": two, "epoch": 1}
    with pytest.raises(ContainerError) as caught:
        saved(tmp_path / "x.pt", value)
    assert str(caught.value).endswith(
        "x.pt: weights in 2 places: expected one state_dict or module, "
        "found model, ema; try select='model' or select='*'; '*' is all, under their keys"
    )
    checkpoint = saved(tmp_path / "x.pt", value, select="ema")
    assert_same(checkpoint.tensors, two)
    assert checkpoint.omitted["model"] == f"beside the selected weights: {len(one)} tensors"
    with pytest.raises(ContainerError, match="expected select='nothing', found model, ema, epoch"):
        read(tmp_path / "x.pt", select="nothing")
    with pytest.raises(ContainerError, match=r"encoder, decoder; try select='encoder'"):
        saved(tmp_path / "x.pt", {"encoder": one, "decoder": two})
    dotted = saved(tmp_path / "x.pt", {"a.b": {"c": one}, "a": two}, select="a.b.c")
    assert_same(dotted.tensors, one)
    listed = saved(tmp_path / "x.pt", {"models": [one, two]}, select="models.1")
    assert_same(listed.tensors, two)


def test_a_state_dict_that_is_named_like_a_place(tmp_path: Path) -> None:
    network = nn.Module()
    network.model = nn.Linear(2, 3)
    network.net = nn.Linear(3, 2)
    checkpoint = saved(tmp_path / "x.pt", network.state_dict())
    assert_same(checkpoint.tensors, network.state_dict())


def test_entries_that_are_no_tensors(tmp_path: Path) -> None:
    value = OrderedDict(w=torch.ones(2), step=3, extra={"a": 1}, array=np.arange(3.0))
    checkpoint = saved(tmp_path / "x.pt", value)
    assert list(checkpoint.tensors) == ["w", "array"]
    np.testing.assert_array_equal(checkpoint.tensors["array"].numpy(), np.arange(3.0))
    assert checkpoint.omitted == {"step": "not a tensor: 3", "extra": "not a tensor: dict"}


@ZIPPED
@pytest.mark.parametrize("whole", [False, True])
def test_packed_weights_of_quantized_modules(tmp_path: Path, zipped: bool, whole: bool) -> None:
    network = nn.ModuleDict({"rnn": nn.LSTM(3, 4), "fc": nn.Linear(4, 2), "cell": nn.GRUCell(3, 4)})
    kinds = {nn.LSTM, nn.Linear, nn.GRUCell}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed = torch.ao.quantization.quantize_dynamic(network, kinds, dtype=torch.qint8)
        value = packed if whole else packed.state_dict()
        checkpoint = saved(tmp_path / "x.pt", value, zipped)
    lstm, cell = "rnn._all_weight_values.0.param", "cell._packed_weight"
    names = {
        "rnn.weight_ih_l0": f"{lstm}.4.0.0",
        "rnn.weight_hh_l0": f"{lstm}.4.1.0",
        "rnn.bias_ih_l0": f"{lstm}.1.0",
        "rnn.bias_hh_l0": f"{lstm}.1.1",
        "fc.weight": "fc._packed_params._packed_params.0",
        "fc.bias": "fc._packed_params._packed_params.1",
        "cell.weight_ih": f"{cell}_ih.0",
        "cell.bias_ih": f"{cell}_ih.1",
        "cell.weight_hh": f"{cell}_hh.0",
        "cell.bias_hh": f"{cell}_hh.1",
    }
    assert set(names.values()) <= checkpoint.tensors.keys()
    assert all(
        "scale" in n or "zero" in n
        for n in checkpoint.tensors.keys() - names.values()
        if not n.startswith(lstm)
    )
    for plain, tensor in network.state_dict().items():
        found = checkpoint.tensors[names[plain]].numpy()
        if "bias" in plain:
            np.testing.assert_array_equal(found, tensor.numpy())
        else:
            assert 0 < np.abs(found - tensor.numpy()).max() < np.abs(found).max() / 100
            assert checkpoint.tensors[names[plain]].inputs[0].dtype == np.int8
    weight = packed.fc.weight().dequantize().numpy()
    np.testing.assert_array_equal(checkpoint.tensors[names["fc.weight"]].numpy(), weight)
    assert checkpoint.modules[lstm].class_name == "torch.classes.rnn.CellParamsBase"


def test_bare_tensors_and_lists(tmp_path: Path) -> None:
    tensors = [torch.arange(3.0), torch.ones(2, 2)]
    assert_same(saved(tmp_path / "x.pt", tensors).tensors, dict(zip("01", tensors, strict=True)))
    assert_same(saved(tmp_path / "x.pt", tensors[0]).tensors, {"0": tensors[0]})


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({}, "found nothing"),
        (OrderedDict(), "found nothing"),
        ({"epoch": 1, "lr": 2.0}, "found epoch, lr"),
        (3, "found a int"),
        ([], "found a list"),
        ({"optimizer": {"state": {0: {"w": torch.ones(2)}}, "param_groups": []}}, "found optim"),
        (nn.ReLU(), "no tensors"),
    ],
)
def test_files_without_weights(tmp_path: Path, value: object, found: str) -> None:
    with pytest.raises(ContainerError, match=found):
        saved(tmp_path / "x.pt", value)


def foreign(name: str) -> Any:
    """Return a module class whose source no longer exists when the file is read."""
    module = ModuleType(name)

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(9, 3, padding_idx=0)
            self.rnn = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True, dropout=0.25)
            self.cell = nn.RNNCell(8, 8, nonlinearity="relu")
            self.norm = nn.LayerNorm(8, eps=1e-3)
            self.conv = nn.Conv1d(8, 4, 3, stride=2, padding=1, dilation=2, groups=2)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.register_buffer("kept", torch.arange(3.0))
            self.register_buffer("dropped", torch.arange(4.0), persistent=False)
            self.register_buffer("absent", None)
            self.scale, self.names, self.function = 0.5, ["a", "b"], os.path.join
            self.tied = self.embed
            self.stray, self.strays = torch.ones(1), [torch.ones(1), {"a": torch.ones(2)}]

    Tagger.__module__, Tagger.__qualname__ = name, "Tagger"
    module.Tagger = Tagger  # type: ignore[attr-defined]
    sys.modules[name] = module
    return Tagger


@ZIPPED
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_whole_modules(tmp_path: Path, zipped: bool, wrapped: bool) -> None:
    network = foreign("vanished")()
    whole = nn.DataParallel(network) if wrapped else network
    torch.save(whole, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    del sys.modules["vanished"]
    checkpoint = read(tmp_path / "x.pt")
    assert_same(checkpoint.tensors, whole.state_dict())
    assert "vanished" not in sys.modules
    prefix = "module." if wrapped else ""
    modules = checkpoint.modules
    assert list(modules) == [name for name, _ in whole.named_modules(remove_duplicate=False)]
    top = modules[prefix[:-1]]
    assert (top.class_name, top.attributes["scale"]) == ("vanished.Tagger", 0.5)
    assert top.attributes["names"] == ["a", "b"]
    assert "function" not in top.attributes
    assert checkpoint.omitted == {
        f"{prefix}dropped": "a non-persistent buffer",
        f"{prefix}stray": "a tensor attribute that is neither a parameter nor a buffer",
        f"{prefix}strays": "an attribute with 2 tensors",
    }
    expected = {
        "embed": ("Embedding", {"num_embeddings": 9, "embedding_dim": 3, "padding_idx": 0}),
        "rnn": ("LSTM", {"num_layers": 2, "bidirectional": True, "dropout": 0.25, "proj_size": 0}),
        "cell": ("RNNCell", {"nonlinearity": "relu", "hidden_size": 8, "bias": True}),
        "norm": ("LayerNorm", {"eps": 1e-3, "normalized_shape": [8]}),
        "conv": ("Conv1d", {"stride": [2], "padding": [1], "dilation": [2], "groups": 2}),
        "attention": ("MultiheadAttention", {"num_heads": 2, "batch_first": True}),
    }
    for path, (name, attributes) in expected.items():
        module = modules[prefix + path]
        assert module.class_name == name
        assert attributes.items() <= dict(module.attributes).items(), path
    if wrapped:
        assert modules[""].class_name == "DataParallel"


@ZIPPED
def test_a_module_inside_a_training_checkpoint(tmp_path: Path, zipped: bool) -> None:
    network = model()
    value = {"epoch": 3, "model": network, "optim": torch.optim.SGD(network.parameters(), 0.1)}
    checkpoint = saved(tmp_path / "x.pt", value, zipped)
    assert_same(checkpoint.tensors, network.state_dict())
    assert checkpoint.modules["1"].attributes["batch_first"] is True


def test_modules_without_end_are_refused(tmp_path: Path) -> None:
    wide: nn.Module = nn.Linear(1, 1)
    for _ in range(40):  # two names for each module: 2 ** 40 paths
        parent = nn.Module()
        parent.a = parent.b = wide
        wide = parent
    with pytest.raises(ContainerError, match="too many modules"):
        saved(tmp_path / "x.pt", wide)
    loop: Any = nn.Module()
    loop.inner = nn.Linear(1, 1)
    loop.inner.outer = loop
    with pytest.raises(ContainerError, match="too many modules"):
        saved(tmp_path / "x.pt", loop)


def test_one_object_under_many_names_is_looked_at_once(tmp_path: Path) -> None:
    """Ten thousand names times a hundred thousand entries would take an hour."""
    big: Any = [1.5] * 100_000
    names = {f"k{i}": big for i in range(10_000)}
    state = {"w": torch.ones(1), **names}
    checkpoint = saved(tmp_path / "x.pt", {"model": state, **names})
    assert len(checkpoint.omitted) == 20_000
    assert checkpoint.tensors.keys() == {"w"}
    assert {"k7", "/k7"} <= checkpoint.omitted.keys()


def spring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every way out of the process raise."""

    def trap(*_: object, **__: object) -> None:
        raise SystemError("a trap")

    real = importlib.import_module
    monkeypatch.setattr(os, "system", trap)
    monkeypatch.setattr(subprocess, "Popen", trap)
    monkeypatch.setattr(socket, "socket", trap)
    monkeypatch.setattr(builtins, "eval", trap)
    monkeypatch.setattr(
        importlib,
        "import_module",
        lambda name: real(name) if name.startswith("ckptconv.") else trap(),
    )


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@ZIPPED
def test_nothing_of_a_file_runs(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    value = {"state_dict": model().state_dict(), "evil": Evil(mark)}
    value["state_dict"]["worse"] = Evil(mark)
    torch.save(value, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)

    spring(monkeypatch)
    checkpoint = read(tmp_path / "x.pt")
    for tensor in checkpoint.tensors.values():
        tensor.numpy()
    assert checkpoint.omitted["worse"] == "not a tensor: posix.system"
    assert checkpoint.omitted["evil"] == "beside the selected weights: posix.system"
    assert not mark.exists()


def test_several_parts_are_asked_about_and_can_all_be_taken(tmp_path: Path) -> None:
    """A key says nothing: a hypernet has a name that begins as hyper-parameters do."""
    one, two = nn.Linear(2, 3).state_dict(), nn.GRU(3, 4).state_dict()
    optimizer = torch.optim.Adam(model().parameters()).state_dict()
    for first, second in (("hypernet", "decoder"), ("vocab", "sched")):
        value = {"epoch": 1, first: one, second: two, "loss": torch.ones(()), "o": optimizer}
        with pytest.raises(SeveralError) as caught:
            saved(tmp_path / "x.pt", value)
        assert sorted(caught.value.choices) == sorted([first, second, "*"])
        checkpoint = saved(tmp_path / "x.pt", value, select="*")
        assert_same(
            checkpoint.tensors,
            {f"{first}.{n}": t for n, t in one.items()}
            | {f"{second}.{n}": t for n, t in two.items()},
        )
        assert checkpoint.modules[f"{first}"] == Module(version=1)
        assert set(checkpoint.omitted) == {"epoch", "loss", "o"}
        notes = saved(tmp_path / "x.pt", value, select=second).notes
        assert f"'{first}' holds weights too" in notes[1]


def test_parts_beside_the_model_are_taken_with_it(tmp_path: Path) -> None:
    """OpenNMT keeps its output layer beside the model."""
    one, two = nn.Linear(2, 3).state_dict(), nn.GRU(3, 4).state_dict()
    checkpoint = saved(tmp_path / "x.pt", {"epoch": 1, "generator": one, "model": two})
    expected = {f"generator.{n}": t for n, t in one.items()}
    assert_same(checkpoint.tensors, expected | {f"model.{n}": t for n, t in two.items()})
    with pytest.raises(SeveralError):  # an average of the model has its names
        saved(tmp_path / "x.pt", {"model": two, "average": nn.GRU(3, 4).state_dict()})
    with pytest.raises(SeveralError):  # data with a tensor among it
        saved(tmp_path / "x.pt", {"model": two, "settings": {"lr": 1, "w": torch.ones(3)}})


def test_lightning_says_where_its_model_is(tmp_path: Path) -> None:
    value = {"pytorch-lightning_version": "2.5.0", "hyper_parameters": {"w": torch.ones(2)}}
    state = nn.GRU(3, 4).state_dict()
    checkpoint = saved(tmp_path / "x.pt", {**value, "state_dict": state})
    assert_same(checkpoint.tensors, state)
    assert any("'hyper_parameters' holds weights too" in note for note in checkpoint.notes)


def test_weights_on_several_levels(tmp_path: Path) -> None:
    rnn = nn.GRU(3, 4).state_dict()
    value = {"fc.weight": torch.ones(2, 4), "encoder": dict(rnn), "step": 3}
    with pytest.raises(SeveralError, match="found encoder and beside them; try select='encoder'"):
        saved(tmp_path / "x.pt", value)
    checkpoint = saved(tmp_path / "x.pt", value, select="*")
    expected = {"fc.weight": value["fc.weight"]} | {f"encoder.{n}": t for n, t in rnn.items()}
    assert_same(checkpoint.tensors, expected)
    assert set(checkpoint.omitted) == {"step"}


def test_state_dicts_in_a_list_and_a_great_vocabulary(tmp_path: Path) -> None:
    rnn = nn.GRU(3, 4).state_dict()
    words = {f"wörd{i}": i for i in range(120_000)}
    checkpoint = saved(tmp_path / "x.pt", {"models": [rnn], "vocab": words, "itos": list(words)})
    assert_same(checkpoint.tensors, rnn)
    assert checkpoint.facts.selected == "models.0"
    with pytest.raises(SeveralError, match=r"found models\.0, models\.1"):
        saved(tmp_path / "x.pt", {"models": [rnn, nn.GRU(3, 4).state_dict()]})
