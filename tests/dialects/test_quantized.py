"""Quantized torch models become the float models whose weights they hold."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization

import ckptconv
from ckptconv.errors import AmbiguousKindError, DialectError, LossyError
from tests import networks as n

ms = pytest.importorskip("mindspore")
from mindspore import nn as msnn  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
ALLOW = {"allow": ["dequantize"], "to": "mindspore"}
KINDS = {nn.LSTM, nn.GRU, nn.Linear, nn.LSTMCell, nn.GRUCell, nn.RNNCell}
RECURRENT = [
    *((kind, k, d, torch.qint8) for kind in ("LSTM", "GRU") for k in (1, 2) for d in (1, 2)),
    ("LSTM", 3, 1, torch.qint8),
    ("LSTM", 2, 2, torch.float16),
]


def dynamic(network: nn.Module, dtype: torch.dtype = torch.qint8) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quantization.quantize_dynamic(network, KINDS, dtype=dtype)


def dequantized(layer: nn.Module, packed: nn.Module) -> nn.Module:
    """Give a float layer the weights that torch itself unpacks."""
    weights = packed.get_weight() if hasattr(packed, "get_weight") else {"weight": packed.weight()}
    biases = packed.get_bias() if hasattr(packed, "get_bias") else {"bias": packed.bias()}
    with torch.no_grad():
        for name, value in {**weights, **biases}.items():
            if value is not None:
                plain = value.dequantize() if value.is_quantized else value
                getattr(layer, name).copy_(plain)
    return layer


@pytest.mark.parametrize(("kind", "layers", "directions", "dtype"), RECURRENT)
def test_recurrent_layers(
    tmp_path: Path, kind: str, layers: int, directions: int, dtype: torch.dtype
) -> None:
    source = n.torch_recurrent(kind, layers, directions)
    packed = dynamic(nn.ModuleDict({"rnn": source}), dtype)
    torch.save(packed.state_dict(), tmp_path / "m.pt")
    options = ALLOW | ({"allow": []} if dtype is torch.float16 else {})  # those are exact
    report = ckptconv.convert(
        tmp_path / "m.pt", tmp_path / "m.ckpt", **options, rename=[("rnn", "")]
    )
    cell = n.mindspore_recurrent(kind, layers, directions)
    loaded = n.load_strictly(cell, tmp_path / "m.ckpt")
    expected = dequantized(source, packed["rnn"])
    for name, value in expected.state_dict().items():
        assert loaded[name].asnumpy().tobytes() == value.numpy().tobytes(), name
    x, states = n.inputs(kind, layers, directions)
    pairs = zip(n.run_mindspore(cell, x, states), n.run_torch(expected, x, states), strict=True)
    for found, wanted in pairs:
        n.close(found, wanted)
    accounted = {name for entry in report.tensors for name in entry.sources} | set(report.omitted)
    assert accounted == set(ckptconv.inspect(tmp_path / "m.pt").tensors)


class Net(nn.Module):
    """Every module that can be quantized dynamically."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 5, batch_first=True)
        self.fc = nn.Linear(5, 2)
        self.plain = nn.Sequential(nn.Linear(2, 3, bias=False))
        self.lstm_cell, self.gru_cell = nn.LSTMCell(3, 4), nn.GRUCell(3, 4)
        self.rnn_cell = nn.RNNCell(3, 4, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.plain(self.fc(self.gru(self.rnn(x)[0])[0]))


class Target(msnn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = msnn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)
        self.gru = msnn.GRU(8, 5, batch_first=True)
        self.fc = msnn.Dense(5, 2)
        self.plain = msnn.SequentialCell(msnn.Dense(2, 3, has_bias=False))
        self.lstm_cell, self.gru_cell = msnn.LSTMCell(3, 4), msnn.GRUCell(3, 4)
        self.rnn_cell = msnn.RNNCell(3, 4, nonlinearity="relu")

    def construct(self, x: Any) -> Any:
        return self.plain(self.fc(self.gru(self.rnn(x)[0])[0]))


SAVE = {
    "state_dict": lambda model, path: torch.save(model.state_dict(), path),
    "legacy": lambda model, path: torch.save(
        model.state_dict(), path, _use_new_zipfile_serialization=False
    ),
    "module": torch.save,
    "scripted": lambda model, path: torch.jit.save(torch.jit.script(model), path),
}


@pytest.mark.parametrize("how", SAVE)
def test_every_container(tmp_path: Path, how: str) -> None:
    float_model = n.fill(Net())
    packed = dynamic(float_model)
    SAVE[how](packed, tmp_path / "m.pt")
    with pytest.raises(LossyError, match=r"try allow=\['dequantize'\]; it gives the float"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    assert not (tmp_path / "m.ckpt").exists()
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW)
    assert "dequantized as allowed: 18 weights are (q - zero point) · scale" in report.notes
    target = Target()
    loaded = n.load_strictly(target, tmp_path / "m.ckpt")
    for name, module in packed.named_modules():
        if hasattr(module, "get_weight") or name in ("fc", "plain.0"):
            dequantized(float_model.get_submodule(name), module)
    for name, value in float_model.state_dict().items():
        assert loaded[name].asnumpy().tobytes() == value.numpy().tobytes(), name
    x = np.linspace(-1, 1, 24, dtype="f4").reshape(2, 4, 3)
    with torch.no_grad():
        n.close(target(ms.Tensor(x)).asnumpy(), float_model(torch.from_numpy(x)).numpy())
    calls = {layer.path: layer.constructor for layer in report.layers}
    told = how not in ("state_dict", "legacy")
    assert ("batch_first=True" in calls["rnn"]) is told


def test_a_traced_model(tmp_path: Path) -> None:
    model = n.fill(nn.Sequential(nn.Linear(3, 4)))
    traced = torch.jit.trace(dynamic(model), torch.ones(1, 3))
    torch.jit.save(traced, tmp_path / "m.pt")
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW)
    loaded = ms.load_checkpoint(str(tmp_path / "m.ckpt"))
    assert set(loaded) == {"0.weight", "0.bias"}
    np.testing.assert_array_equal(loaded["0.bias"].asnumpy(), model[0].bias.detach().numpy())


def test_layers_and_directions_that_look_alike(tmp_path: Path) -> None:
    """Two cells whose input is as wide as their state: the file tells no more."""
    for layers, directions in ((2, 1), (1, 2)):
        layer = n.fill(nn.LSTM(4, 4, layers, bidirectional=directions == 2))
        torch.save(dynamic(nn.ModuleDict({"rnn": layer})).state_dict(), tmp_path / "m.pt")
        with pytest.raises(AmbiguousKindError, match=r"'rnn': 'LSTM\(bidirectional=True\)'"):
            ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW)
        kinds = {"rnn": f"LSTM(bidirectional={directions == 2})"}
        report = ckptconv.convert(
            tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW, kinds=kinds, force=True
        )
        assert {t.target for t in report.tensors} == {f"rnn.{k}" for k in layer.state_dict()}


@pytest.mark.parametrize("split_gates", [False, True])
@pytest.mark.parametrize("static", [False, True])
def test_the_quantizable_lstm(
    tmp_path: Path, split_gates: bool, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = n.torch_recurrent("LSTM", 2, 2)
    source.qconfig = quantization.get_default_qconfig("qnnpack")
    layer = torch.ao.nn.quantizable.LSTM.from_float(source, split_gates=split_gates)
    options = dict(ALLOW)
    if static:
        monkeypatch.setattr(torch.backends.quantized, "engine", "qnnpack")
        x, states = n.inputs("LSTM", 2, 2)
        layer(torch.from_numpy(x), tuple(map(torch.from_numpy, states)))
        layer = torch.ao.nn.quantized.LSTM.from_observed(layer)
    else:
        options["allow"] = []
    torch.save({f"rnn.{k}": v for k, v in layer.state_dict().items()}, tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **options)
    loaded = ms.load_checkpoint(str(tmp_path / "m.ckpt"))
    assert set(loaded) == {f"rnn.{name}" for name in source.state_dict()}, report.omitted
    for name, value in source.state_dict().items():
        found, wanted = loaded[f"rnn.{name}"].asnumpy(), value.numpy()
        if static and "weight" in name:
            assert 0 < np.abs(found - wanted).max() < np.abs(wanted).max() / 60
        else:
            np.testing.assert_array_equal(found, wanted)


def test_plain_quantized_tensors(tmp_path: Path) -> None:
    weight = torch.quantize_per_tensor(
        torch.linspace(-1, 1, 6).reshape(2, 3), 0.01, 7, torch.quint8
    )
    state = {"fc.weight": weight, "fc.bias": torch.ones(2)}
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(LossyError, match=r"fc\.weight: .* found 1 of uint8; try allow=\['dequant"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW)
    found = ms.load_checkpoint(str(tmp_path / "m.ckpt"))["fc.weight"].asnumpy()
    np.testing.assert_array_equal(found, weight.dequantize().numpy())


def test_a_quantized_embedding(tmp_path: Path) -> None:
    model = nn.ModuleDict({"words": nn.Embedding(7, 4)})
    model.qconfig = quantization.float_qparams_weight_only_qconfig
    quantization.prepare(model, inplace=True)
    quantization.convert(model, inplace=True)
    torch.save(model.state_dict(), tmp_path / "m.pt")
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW)
    loaded = ms.load_checkpoint(str(tmp_path / "m.ckpt"))
    assert set(loaded) == {"words.embedding_table"}
    expected = model["words"].weight().dequantize().numpy()
    np.testing.assert_array_equal(loaded["words.embedding_table"].asnumpy(), expected)


def test_quantization_aware_training(tmp_path: Path) -> None:
    """Fake quantization rounds weights and activations of a model whose weights are float."""
    model = nn.Sequential(nn.Linear(3, 4)).train()
    model.qconfig = quantization.get_default_qat_qconfig("qnnpack")
    quantization.prepare_qat(model, inplace=True)
    model(torch.ones(2, 3))
    torch.save(model.state_dict(), tmp_path / "m.pt")
    with pytest.raises(LossyError, match="found fake quantization"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW)
    assert set(ms.load_checkpoint(str(tmp_path / "m.ckpt"))) == {"0.weight", "0.bias"}


def test_one_weight_twice(tmp_path: Path) -> None:
    state = dict(dynamic(nn.Sequential(nn.Linear(3, 4))).state_dict())
    torch.save({**state, "0.weight": torch.ones(4, 3)}, tmp_path / "m.pt")
    with pytest.raises(DialectError, match="both plain and packed"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", **ALLOW)


def test_quantized_shards(tmp_path: Path) -> None:
    weight = torch.quantize_per_channel(
        torch.linspace(-1, 1, 6).reshape(2, 3), torch.tensor([0.01, 0.02]), torch.tensor([1, 2]),
        0, torch.qint8,
    )  # fmt: skip
    torch.save({"fc.weight": weight, "fc.bias": torch.ones(2)}, tmp_path / "a.bin")
    places = {"fc.weight": "a.bin", "fc.bias": "a.bin"}
    index = {"metadata": {"quantized": "no"}, "weight_map": places}
    (tmp_path / "m.index.json").write_text(json.dumps(index))
    with pytest.raises(LossyError, match="found 1 of int8"):
        ckptconv.convert(tmp_path / "m.index.json", tmp_path / "m.ckpt", to="mindspore")
    ckptconv.convert(tmp_path / "m.index.json", tmp_path / "m.ckpt", **ALLOW)
    found = ms.load_checkpoint(str(tmp_path / "m.ckpt"))["fc.weight"].asnumpy()
    np.testing.assert_array_equal(found, weight.dequantize().numpy())


@pytest.mark.parametrize("shapes", [[()] * 4, [(4, 3)] * 3, [(4, 3), (4, 2), (4, 3), (4, 3)]])
def test_gates_that_do_not_fit_together(tmp_path: Path, shapes: list[tuple[int, ...]]) -> None:
    gates = zip(["input", "forget", "cell", "output"], shapes, strict=False)
    place = "rnn.layers.0.layer_fw.cell.igates"
    state = {f"{place}.{gate}.weight": torch.ones(shape) for gate, shape in gates}
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(DialectError, match=r"rnn\.weight_ih_l0: a weight in parts that do not fit"):
        ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")


def test_names_of_quantization_alone_drop_nothing(tmp_path):
    """A network may call its own layers and parameters as torch calls an observer's."""
    module = nn.ModuleDict({"activation_post_process": nn.Linear(4, 2), "gates": nn.Linear(4, 3)})
    module.register_parameter("scale", nn.Parameter(torch.rand(1)))
    module.register_parameter("zero_point", nn.Parameter(torch.rand(1)))
    state = {**module.state_dict(), "own._packed_thing": torch.rand(2, 3)}
    torch.save(state, tmp_path / "m.pt")
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore")
    assert report.omitted == {}
    assert {entry.target for entry in report.tensors} == set(state)
