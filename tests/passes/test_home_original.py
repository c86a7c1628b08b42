"""Weights that were trained elsewhere load into the original Keras model, wrappers and all."""

from __future__ import annotations

import json
import math
import os
import shutil
from importlib import util
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import numpy as np
import pytest
import torch

import ckptconv
from ckptconv import formats
from ckptconv.passes.restore.places import _are_regrouped

keras = pytest.importorskip("keras")
legacy_h5_format = pytest.importorskip("keras.src.legacy.saving.legacy_h5_format")
L = keras.layers
GOLDEN = Path(__file__).parents[1] / "golden" / "keras"


def _over(inputs: Any, *layers: Any, name: str | None = None) -> Any:
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, **({"name": name} if name else {}))


def _steps() -> Any:
    return keras.Input((4, 6))


def _wrapped() -> Any:
    """Both hold weights of one shape, so that nothing but names tells them apart."""
    twins = (L.TimeDistributed(L.Dense(6), name=name) for name in ("first", "second"))
    return _over(_steps(), *twins, L.LSTM(4), L.Dense(2))


def _nested() -> Any:
    """Two levels; the lower one has weights that Keras's lists put behind all others."""
    low = keras.Sequential([_steps(), L.Dense(6), L.BatchNormalization(), L.Dense(6)], name="low")
    middle = _over(_steps(), low, L.Dense(6), name="middle")
    return _over(_steps(), middle, L.GRU(3), L.Dense(6))


def _named_as_numbers_are() -> Any:
    """A layer that is called as ``.weights.h5`` calls what holds the weights of any layer."""
    low = keras.Sequential([_steps(), L.Dense(6, name="vars"), L.Dense(6)], name="low")
    return _over(_steps(), low, L.GRU(3))


def _frozen() -> Any:
    """What is not trained stands last in a legacy file."""
    low = keras.Sequential([_steps(), L.Dense(6, name="a"), L.Dense(6, name="b")], name="low")
    low.layers[0].trainable = False
    return _over(_steps(), low, L.GRU(3))


def _stacked() -> Any:
    cells = [L.LSTMCell(4), L.GRUCell(4), L.LSTMCell(4)]
    return _over(_steps(), L.RNN(cells, return_sequences=True), L.RNN(L.GRUCell(5)), L.Dense(2))


def _both_ways() -> Any:
    cells = L.RNN([L.LSTMCell(4), L.LSTMCell(4)], return_sequences=True)
    return _over(_steps(), L.Bidirectional(cells), L.TimeDistributed(L.Dense(2)))


def _attending() -> Any:
    inputs = _steps()
    inner = keras.Model(inputs, L.MultiHeadAttention(2, 3)(inputs, inputs), name="inner")
    return _over(_steps(), inner, L.TimeDistributed(L.BatchNormalization(scale=False)))


def _convolving() -> Any:
    inner = _over(_steps(), L.DepthwiseConv1D(2), L.Conv1D(3, 2), name="inner")
    return _over(_steps(), inner, L.GroupNormalization(1, scale=False))


MODELS = (
    _wrapped,
    _nested,
    _named_as_numbers_are,
    _frozen,
    _stacked,
    _both_ways,
    _attending,
    _convolving,
)
UNTOLD = {(_attending, ".weights.h5"), (_convolving, ".weights.h5")}
"""Numbers of fewer weights than a norm has do not say which, where no configuration does."""
SUFFIXES = {".h5": ".h5", ".keras": ".weights.h5", ".weights.h5": ".weights.h5"}
"""What is kept of the original → what its weights are written in."""


def _filled(model: Any, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    for v in model.weights:
        values = rng.normal(size=v.shape) * 0.4
        v.assign((np.abs(values) + 0.3 if "variance" in v.name else values).astype("f4"))
    return [np.array(v.value.detach()) for v in model.weights]


def _saved(model: Any, path: Path) -> Path:
    model.save_weights(path) if ".weights." in path.name else model.save(path)
    return path


CASES = [
    pytest.param(make, to, kept, by, id=f"{make.__name__[1:]}-{to}-{kept}-{by}")
    for make in MODELS
    for to in ("torch", "mindspore")
    for kept in SUFFIXES
    for by in ("like", "restore")
    if (by == "restore" or (make, kept) not in UNTOLD)
    and (make is not _convolving or to == "torch")  # MindSpore's file asks for the rank
]


@pytest.mark.parametrize(("make", "to", "kept", "by"), CASES)
def test_what_was_trained_elsewhere_loads_into_the_original(tmp_path, make, to, kept, by):
    """Training is another model of the same layers, converted: the values are known exactly."""
    keras.backend.clear_session()
    model = make()
    _filled(model, 1)
    begun = _saved(model, tmp_path / "begun.keras")
    original = _saved(model, tmp_path / f"original{kept}")
    wanted = _filled(model, 2)
    trained = _saved(model, tmp_path / "trained.keras")
    there = tmp_path / {"torch": "there.pt", "mindspore": "there.ckpt"}[to]
    home = tmp_path / f"home{SUFFIXES[kept]}"
    options = {"like": original}
    if by == "restore":
        source = begun if kept == ".weights.h5" else original
        report = ckptconv.convert(source, there, to=to)
        (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
        trained = _saved(model, tmp_path / f"trained{source.suffix}")
        options = {"restore": tmp_path / "report.json"}
    ckptconv.convert(trained, there, to=to, force=True)
    report = ckptconv.convert(there, home, to="keras", check=True, **options)
    assert not [note for note in report.notes if "original" in note]
    _filled(model, 3)
    model.load_weights(home)
    for variable, expected in zip(model.weights, wanted, strict=True):
        np.testing.assert_array_equal(variable.value.detach().numpy(), expected, variable.path)


@pytest.mark.parametrize("kept", [".h5", ".keras"])
def test_a_written_network_that_is_trained_goes_home(tmp_path, kept):
    """Attention is four layers in a network; one activation is no torch layer's."""
    inner = _over(_steps(), L.LSTM(4, activation="relu", return_sequences=True), name="inner")
    inputs = keras.Input((4, 4))
    heads = keras.Model(inputs, L.MultiHeadAttention(2, 3)(inputs, inputs), name="heads")
    model = _over(_steps(), inner, heads, L.TimeDistributed(L.Dense(3)))
    original = _saved(model, tmp_path / f"original{kept}")
    weights, trained = tmp_path / "net.pt", tmp_path / "trained.pt"
    ckptconv.convert(original, weights, to="torch", network=tmp_path / "net.py")
    spec = util.spec_from_file_location(f"net{kept[1:]}", tmp_path / "net.py")
    written = util.module_from_spec(spec)
    spec.loader.exec_module(written)
    network = written.load(weights).train()
    x = np.random.default_rng(5).normal(size=(3, 4, 6)).astype("f4")
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.from_numpy(x)).square().mean().backward()
        optimizer.step()
    torch.save(network.state_dict(), trained)
    before = model.predict(x, verbose=0)
    home = tmp_path / f"home{SUFFIXES[kept]}"
    ckptconv.convert(trained, home, to="keras", like=original)
    model.load_weights(home)
    found, expected = model.predict(x, verbose=0), network.eval()(torch.from_numpy(x))
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=2e-6)
    assert np.abs(found - before).max() > 1e-3  # it was trained


def _there(tmp_path: Path, model: Any, kept: str) -> tuple[Path, Path, Path]:
    """Return the original, what it was converted to, and the report of that."""
    original = _saved(model, tmp_path / f"original{kept}")
    report = ckptconv.convert(original, tmp_path / "there.pt", to="torch")
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    return original, tmp_path / "there.pt", tmp_path / "report.json"


@pytest.mark.parametrize(("kept", "suffix"), [(".h5", ".weights.h5"), (".keras", ".h5")])
def test_the_other_layout_is_said_to_lose_the_names(tmp_path, kept, suffix):
    original, there, report = _there(tmp_path, _nested(), kept)
    home = tmp_path / f"home{suffix}"
    made = ckptconv.convert(there, home, to="keras", restore=report)
    (note,) = (note for note in made.notes if "original" in note)
    assert f"ends in {SUFFIXES[kept]}, or like='ORIGINAL'" in note
    with pytest.raises(ValueError, match=r"could not be loaded|mismatch"):
        _nested().load_weights(home)
    with pytest.raises(ckptconv.CkptconvError, match="a file of another layout") as refused:
        ckptconv.convert(there, home, to="keras", like=original, force=True)
    assert "of this model writes" in str(refused.value.hint)


def test_a_configuration_alone_is_no_target(tmp_path):
    model = _wrapped()
    _, there, _ = _there(tmp_path, model, ".keras")
    (tmp_path / "model.json").write_text(model.to_json())
    with pytest.raises(ckptconv.CkptconvError, match="tells no shapes") as refused:
        ckptconv.convert(there, tmp_path / "home.h5", to="keras", like=tmp_path / "model.json")
    assert "save_weights('like.weights.h5')" in str(refused.value.hint)


@pytest.mark.parametrize("left", ["shapes", "layout"])
@pytest.mark.parametrize("kept", [".h5", ".keras"])
def test_a_report_that_tells_less_gives_no_names_to_guesses(tmp_path, left, kept):
    """Keras loads ``.h5`` by the order of weights, which only the report keeps."""
    _, there, report = _there(tmp_path, _nested(), kept)
    told = json.loads(report.read_text())
    report.write_text(json.dumps({name: v for name, v in told.items() if name != left}))
    home = tmp_path / f"home{SUFFIXES[kept]}"
    made = ckptconv.convert(there, home, to="keras", restore=report)
    noted = any("not under the names of the original" in note for note in made.notes)
    assert noted == (left == "shapes" or kept == ".h5")


@pytest.mark.parametrize(
    "damaged", [[math.inf], ["6", 6], "66", [-1, -1, 6, 6], [6.5, 6], None], ids=str
)
@pytest.mark.parametrize("of", ["source", "target"])
def test_a_report_with_what_is_no_shape_is_none(tmp_path, damaged, of):
    _, there, report = _there(tmp_path, _nested(), ".h5")
    told = json.loads(report.read_text())
    tensor = told["layers"][0]["tensors"][0]
    held, key = (told["shapes"], tensor["sources"][0]) if of == "source" else (tensor, "shape")
    held[key] = damaged
    report.write_text(json.dumps(told))
    with pytest.raises(ckptconv.CkptconvError, match="not a report of a conversion"):
        ckptconv.convert(there, tmp_path / "home.h5", to="keras", restore=report)


def test_what_the_original_has_no_place_for_is_refused(tmp_path):
    """A scale that torch's BatchNorm has and that was trained."""
    model = _attending()
    original, there, report = _there(tmp_path, model, ".keras")
    state = torch.load(there, weights_only=True)
    (name,) = (n for n in state if n.endswith(".weight") and "time_distributed" in n)
    torch.save({**state, name: state[name] + 1}, there)
    home = tmp_path / "home.weights.h5"
    with pytest.raises(ckptconv.UnmatchedError, match="time_distributed"):
        ckptconv.convert(there, home, to="keras", like=original)
    made = ckptconv.convert(there, home, to="keras", restore=report)
    assert any("not here as they were" in note for note in made.notes)


def test_weights_alone_that_tell_no_cells_name_the_file_that_does(tmp_path):
    """``.weights.h5`` numbers weights, so that two of a norm may be any two of three."""
    model = _attending()
    _saved(model, tmp_path / "like.weights.h5")
    _, there, _ = _there(tmp_path, model, ".keras")
    with pytest.raises(ckptconv.UnmatchedError) as refused:
        ckptconv.convert(
            there, tmp_path / "home.weights.h5", to="keras", like=tmp_path / "like.weights.h5"
        )
    assert "like='like.keras', by model.save('like.keras')" in str(refused.value.hint)
    model.save(tmp_path / "like.keras")
    ckptconv.convert(there, tmp_path / "home.weights.h5", to="keras", like=tmp_path / "like.keras")


def test_what_was_kept_as_it_was_goes_back_beside_what_no_layer_holds(tmp_path):
    """Of one layer the configuration tells what is refused; the other was kept under its names."""
    cell = L.GRUCell(2, activation=L.LeakyReLU(negative_slope=0.4))
    model = _over(_steps(), L.SeparableConv1D(3, 1), L.RNN(cell))
    wanted = _filled(model, 1)
    with h5py.File(bare := tmp_path / "bare.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    ckptconv.convert(bare, tmp_path / "there.pt", to="torch")
    original, home = _saved(model, tmp_path / "original.h5"), tmp_path / "home.h5"
    ckptconv.convert(tmp_path / "there.pt", home, to="keras", like=original)
    _filled(model, 2)
    model.load_weights(home)
    for variable, expected in zip(model.weights, wanted, strict=True):
        np.testing.assert_array_equal(variable.value.detach().numpy(), expected, variable.path)


def test_a_scale_is_no_shift(tmp_path):
    """Both are ``vars/0`` of a norm that has one of them."""
    model = _over(_steps(), L.TimeDistributed(L.LayerNormalization(scale=False), name="norm"))
    _filled(model, 1)
    original, there, _ = _there(tmp_path, model, ".keras")
    state = torch.load(there, weights_only=True)
    weight, bias = torch.arange(1.0, 7), torch.zeros(6)
    torch.save({**state, "norm.weight": weight, "norm.bias": bias}, there)
    paths = there, tmp_path / "home.weights.h5"
    with pytest.raises(ckptconv.DialectError, match=r"another parameter.*bias.*weight"):
        ckptconv.convert(*paths, to="keras", like=original)


def test_a_layout_of_values_that_is_not_written_is_refused(tmp_path):
    """CuDNN's kernels have the shape of LSTM's, and other elements at their places."""
    shutil.copy(GOLDEN / "keras231_cudnn_full.h5", tmp_path / "cudnn.h5")
    report = ckptconv.convert(tmp_path / "cudnn.h5", tmp_path / "there.pt", to="torch")
    (tmp_path / "report.json").write_text(json.dumps(report.to_dict()))
    paths = tmp_path / "there.pt", tmp_path / "home.h5"
    with pytest.raises(ckptconv.UnmatchedError):
        ckptconv.convert(*paths, to="keras", like=tmp_path / "cudnn.h5")
    made = ckptconv.convert(*paths, to="keras", restore=tmp_path / "report.json")
    assert any("not here as they were" in note for note in made.notes)


def test_files_of_every_keras_come_back_to_the_letter(tmp_path):
    """Converted, and brought back by itself or by the report: the same file, or it is told."""
    files = [path for path in GOLDEN.iterdir() if path.suffix in (".h5", ".keras")]
    there, same = tmp_path / "there.pt", 0
    for source in (path for path in files if "sharded" not in path.name):
        try:
            report = ckptconv.convert(
                source, there := tmp_path / "there.pt", to="torch", force=True
            )
        except ckptconv.CkptconvError:
            continue
        told = tmp_path / "report.json"
        told.write_text(json.dumps(report.to_dict()))
        held = ckptconv.load(source).origin
        home = tmp_path / f"home{'.h5' if held.facts.layout == 'legacy' else '.weights.h5'}"
        for options in ({"like": source}, {"restore": told}):
            try:
                made = ckptconv.convert(there, home, to="keras", force=True, **options)
            except ckptconv.UnmatchedError:
                assert "cudnn" in source.name or "keras122" in source.name
                continue
            if held.facts.backend != "theano" and not any("under the n" in n for n in made.notes):
                _require_same_file(home, source)
                same += 1
    assert same > 140


def _require_same_file(home: Path, source: Path) -> None:
    found, held = (formats.read(path) for path in (home, source))
    assert found.tensors.keys() == held.tensors.keys()
    assert [*found.facts.weights.items()] == [*held.facts.weights.items()]
    for weight, tensor in held.tensors.items():
        np.testing.assert_array_equal(found.tensors[weight].numpy(), tensor.numpy())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((6, 6), (6, 2, 3), True),
        ((2, 1, 8), (2, 8, 1), True),
        ((1, 1, 4), (4,), True),
        ((4, 6), (6, 4), False),
        ((4, 6), (2, 6), False),
        ((2, 12), (12,), False),
    ],
)
def test_shapes_are_those_of_the_same_order(one, other, same):
    assert _are_regrouped(one, other) == same == _are_regrouped(other, one)
