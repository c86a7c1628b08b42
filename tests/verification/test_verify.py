"""verify, golden and replay against the real frameworks, and what they must not let pass."""

import json

import numpy as np
import pytest

import ckptconv
from ckptconv import formats
from ckptconv.errors import AmbiguousKindError, CkptconvError, VerificationError
from ckptconv.verification.diff import diff
from ckptconv.verification.frameworks.mindspore import MindSpore
from ckptconv.verification.frameworks.torch import Torch
from ckptconv.verification.golden import golden
from ckptconv.verification.replay import replay
from ckptconv.verification.roundtrip import roundtrip
from ckptconv.verification.verify import verify
from tests.cli.test_cli import run
from tests.verification.test_diff import SCHEMA, valid

torch = pytest.importorskip("torch")
TARGETS = {
    "mindspore": "m.ckpt",
    "keras": "m.h5",
    "keras-weights": "m.weights.h5",
    "torch": "n.safetensors",
}


class Net(torch.nn.Module):
    def __init__(self, seed=1, strength=1.0):
        super().__init__()
        torch.manual_seed(seed)
        self.embed = torch.nn.Embedding(11, 4)
        self.lstm = torch.nn.LSTM(4, 5, 2, bidirectional=True)
        self.gru = torch.nn.GRU(10, 6)
        self.cell = torch.nn.GRUCell(6, 3)
        self.rnn = torch.nn.RNN(6, 6, bias=False)
        self.bn = torch.nn.BatchNorm1d(6)
        self.fc = torch.nn.Linear(6, 3)
        with torch.no_grad():
            for part in (self.lstm, self.gru, self.cell, self.rnn):
                for parameter in part.parameters():
                    parameter.mul_(strength)


def converted(tmp_path, to, name="m.pt", **options):
    source, target = tmp_path / name, tmp_path / TARGETS[to]
    torch.save(Net(**options).state_dict(), source)
    ckptconv.convert(source, target, to=to.partition("-")[0])
    return source, target


@pytest.mark.parametrize("to", TARGETS)
def test_same_model(tmp_path, to):
    if to != "torch":
        pytest.importorskip(to.partition("-")[0])
    source, target = converted(tmp_path, to)
    report = verify(source, target, run=True)
    assert report.ok, [layer.cause for layer in report.layers]
    document = valid(report)
    runs = [run for layer in report.layers for run in layer.runs]
    assert {run.side for run in runs} == {"source", "target"}
    assert len(runs) == 30, "the recurrent ones are also computed in NumPy, and their states"
    assert report.verdict == "the same model: weights equal; 7 of 7 layers run"
    assert all(0 <= run.difference.max_abs < 3e-6 for run in runs)
    assert len(document["frameworks"]) == (1 if to == "torch" else 2)
    assert all(len(row) == len(headers) for _, headers, rows in report.tables() for row in rows)


def test_nothing_is_said_of_outputs_where_none_was_computed(tmp_path):
    torch.save(torch.nn.ModuleDict({"fc": torch.nn.Linear(3, 2)}).state_dict(), tmp_path / "m.pt")
    (title, _, rows), *others = verify(tmp_path / "m.pt", tmp_path / "m.pt").tables()
    assert (title, len(rows), others) == ("weights equal; 0 of 1 layers computed", 1, [])


def test_what_one_side_was_given_or_denied_is_left_out_by_name(tmp_path):
    heads = {"own": torch.nn.Linear(5, 2), "fc": torch.nn.Linear(5, 3)}
    for name, head in heads.items():
        net = torch.nn.ModuleDict({"rnn": torch.nn.GRU(4, 5), name: head})
        torch.save(net.state_dict(), tmp_path / f"{name}.pt")
    torch.manual_seed(3)
    ckptconv.convert(tmp_path / "fc.pt", tmp_path / "filled.pt", to="torch", drop=["fc"],
                     like=tmp_path / "own.pt", fill={"own": "target"})  # fmt: skip
    command = ("verify", tmp_path / "fc.pt", tmp_path / "filled.pt")
    assert run(*command, "--drop", "fc", code=1)[0].startswith("NOT the same model")
    out, _ = run(*command, "--drop", "fc", "--target-drop", "own", "--run")
    assert out.startswith("weights equal; 1 of 1 layers run\n"), "it is not the same model"
    assert "fc.pt: left out: fc.weight, fc.bias: dropped as fc" in out
    assert "filled.pt: left out: own.weight, own.bias: dropped as own" in out
    _, error = run(*command, "--target-drop", "nwo", code=1)
    assert "nwo: --target-drop: no such module or parameter: expected rnn or own" in error
    with pytest.raises(CkptconvError, match="target_drop: a text where a list of texts is meant"):
        verify(*command[1:], target_drop="own")


@pytest.mark.parametrize("turned", [False, True])
def test_a_bias_that_one_side_has_is_named(tmp_path, turned):
    for bias in (False, True):
        net = torch.nn.ModuleDict({"conv": torch.nn.Conv1d(2, 4, 3, bias=bias)})
        net.conv.weight.data.fill_(0.5)
        torch.save(net.state_dict(), tmp_path / f"{bias != turned}.pt")
    report = verify(tmp_path / "True.pt", tmp_path / "False.pt", kinds={"conv": "Conv1d"})
    assert report.failures == ["conv: weights differ: conv.bias (only one side has it)"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_rounded_exactly(tmp_path, dtype):
    source, _ = converted(tmp_path, "torch")
    target = tmp_path / "r.ckpt"
    ckptconv.convert(source, target, to="mindspore", dtype=dtype)
    report = verify(source, target)
    assert report.ok, [layer.cause for layer in report.layers]
    assert {layer.weights for layer in report.layers} == {"rounded"}
    arrays = {k: v.numpy().copy() for k, v in Net().state_dict().items()}
    arrays["gru.weight_hh_l0"][4, 1] *= 1.5
    ckptconv.save(
        ckptconv.from_state_dict(arrays, "torch"), target, to="mindspore", dtype=dtype, force=True
    )
    report = verify(source, target)
    assert [layer.source for layer in report.layers if not layer.ok] == ["gru"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sums_and_products_of_few_digits(tmp_path, dtype):
    """A sum of biases, and a product of matrices, is rounded to the dtype that they have."""
    torch.manual_seed(0)
    layers = {"lstm": torch.nn.LSTM(3, 4, 2, bidirectional=True), "rnn": torch.nn.RNN(3, 4)}
    layers["projected"] = torch.nn.LSTM(3, 4, proj_size=2)
    model = torch.nn.ModuleDict(layers).to(getattr(torch, dtype))
    torch.save(model.state_dict(), tmp_path / "m.pt")
    keras = "m.h5" if dtype == "float16" else "m.weights.h5"
    for to, name in (("keras", keras), ("mindspore", "m.ckpt")):
        for other in (None, "float32"):
            options = {"dtype": other, "fold_proj": True, "force": True}
            ckptconv.convert(tmp_path / "m.pt", tmp_path / name, to=to, **options)
            report = verify(tmp_path / "m.pt", tmp_path / name)
            assert report.ok, report.failures
            assert max(run.tolerance for _, run in report.runs) < 0.1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_layers_of_every_kind_are_run_with_rounded_weights(tmp_path, dtype):
    """The outputs of a Linear differ by what rounding does to its weights, which is no defect."""
    source, _ = converted(tmp_path, "torch")
    target = tmp_path / "r.safetensors"
    ckptconv.convert(source, target, to="torch", dtype=dtype)
    report = verify(source, target, run=True)
    assert report.ok, report.failures
    assert report.verdict.endswith("weights equal but for exact rounding; 7 of 7 layers run")


def test_known_arithmetic_passes_and_is_named(tmp_path):
    """Weights of ten times the usual size: MindSpore's own tanh shows."""
    pytest.importorskip("mindspore")
    report = verify(*converted(tmp_path, "mindspore", strength=12.0), run=True)
    assert report.ok
    named = [layer.source for layer in report.layers if "own arithmetic is off" in layer.cause]
    assert "gru" in named


def test_unknown_arithmetic_fails(tmp_path, monkeypatch):
    """A framework that computes something else on equal weights does not pass."""
    run = Torch._run

    def wrong(self, layer, arrays, given):
        found = run(self, layer, arrays, given)
        return found._replace(y=found.y + 1e-3)

    monkeypatch.setattr(Torch, "_run", wrong)
    report = verify(*converted(tmp_path, "torch"), run=True)
    failed = [layer for layer in report.layers if not layer.ok]
    assert len(failed) == 4
    assert all("more than its arithmetic is known to be" in layer.cause for layer in failed)


def test_error_that_only_loading_explains_fails(tmp_path, monkeypatch):
    """Within MindSpore's known error, but not what the same weights give when put in directly."""
    pytest.importorskip("mindspore")
    opened = MindSpore._load

    def slightly_wrong(self, path):
        return {name: array * np.float32(1 + 3e-5) for name, array in opened(self, path).items()}

    monkeypatch.setattr(MindSpore, "_load", slightly_wrong)
    report = verify(*converted(tmp_path, "mindspore", strength=4.0), run=True)
    assert not report.ok
    assert any("not by its arithmetic" in layer.cause for layer in report.layers)


def test_missing_and_added(tmp_path):
    source, _ = converted(tmp_path, "torch")
    state = Net().state_dict()
    state["extra.weight"] = state.pop("fc.weight")[:2]
    del state["fc.bias"]
    torch.save(state, tmp_path / "other.pt")
    report = verify(source, tmp_path / "other.pt")
    assert report.missing == ["fc.weight", "fc.bias"]
    assert report.added == ["extra.weight"]
    assert not valid(report)["ok"]


def test_renamed(tmp_path):
    source, _ = converted(tmp_path, "torch")
    target = tmp_path / "renamed.ckpt"
    ckptconv.convert(
        source, target, to="mindspore", rename=[("^lstm", "encoder.rnn"), ("^fc", "head")]
    )
    report = verify(source, target)
    assert report.ok
    assert {layer.source: layer.target for layer in report.layers}["lstm"] == "encoder.rnn"


def test_framework_not_installed(tmp_path, monkeypatch):
    source, target = converted(tmp_path, "torch")
    monkeypatch.setattr(Torch, "module", "torch_that_is_absent")
    with pytest.raises(CkptconvError, match=r"cannot be imported.*try pip install"):
        verify(source, target, run=True)
    assert verify(source, target).ok


@pytest.mark.parametrize("to", TARGETS)
def test_golden_and_replay(tmp_path, to):
    if to != "torch":
        pytest.importorskip(to.partition("-")[0])
    source, target = converted(tmp_path, to)
    meta = golden(source, tmp_path / "v.npz")
    pytest.importorskip("jsonschema").Draft202012Validator(SCHEMA).validate(meta)
    report = replay(target, tmp_path / "v.npz")
    assert report.ok, [layer.cause for layer in report.layers]
    assert all(run.tolerance < 2e-5 for layer in report.layers for run in layer.runs)
    assert valid(report)["layers"][0]["weights"] == "not compared"
    assert replay(target, tmp_path / "v.npz", reference_only=True).ok


def test_golden_is_reproducible_and_plain(tmp_path):
    source, _ = converted(tmp_path, "torch")
    golden(source, tmp_path / "a.npz")
    golden(source, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        assert arrays["0.y"].shape == (4, 6, 10)
        assert arrays["0.y"].dtype == np.float64
    with pytest.raises(CkptconvError, match="exists already"):
        golden(source, tmp_path / "a.npz")
    ascend = meta["layers"][0]["tolerances"]["mindspore Ascend"]
    assert all(1e-4 < limit < 1e-2 for limit in ascend[:2])


def test_vectors_of_another_model(tmp_path):
    source, _ = converted(tmp_path, "torch")
    golden(source, tmp_path / "v.npz")
    torch.save(Net(seed=2).state_dict(), tmp_path / "other.pt")
    with pytest.raises(VerificationError, match=r"another model.*other weights"):
        replay(tmp_path / "other.pt", tmp_path / "v.npz")
    state = {k: v for k, v in Net().state_dict().items() if not k.startswith("gru")}
    torch.save(state, tmp_path / "less.pt")
    with pytest.raises(VerificationError, match="another model"):
        replay(tmp_path / "less.pt", tmp_path / "v.npz")


def test_each_file_is_opened_once_whatever_is_ambiguous(tmp_path, monkeypatch):
    """A .ckpt does not tell a Conv1d from a Conv2d of height 1; the other file does."""
    layers = torch.nn.ModuleDict({f"thing{i}x": torch.nn.Conv1d(2, 3, 5) for i in range(40)})
    source, target = tmp_path / "m.pt", tmp_path / "m.ckpt"
    torch.save(layers.state_dict(), source)
    kinds = dict.fromkeys(layers, "Conv1d")
    ckptconv.convert(source, target, to="mindspore", kinds=kinds)
    with pytest.raises(AmbiguousKindError, match=r"nor for .* and 29 more") as refused:
        ckptconv.load(target)
    assert set(refused.value.choices) == set(layers)
    opened = []
    read = formats.read
    monkeypatch.setattr(formats, "read", lambda *a, **k: opened.append(a) or read(*a, **k))
    assert verify(source, target, kinds=kinds).ok
    assert diff(source, target, kinds=kinds).ok
    assert len(opened) == 4


def test_selected_part_is_run(tmp_path):
    """Two models in one file, with the same names: the framework's names are searched in one."""
    pytest.importorskip("mindspore")
    one, two = Net(seed=1).state_dict(), Net(seed=2).state_dict()
    torch.save({"one": one, "two": two}, tmp_path / "m.pt")
    for part in ("one", "two"):
        target = tmp_path / f"{part}.ckpt"
        ckptconv.convert(tmp_path / "m.pt", target, to="mindspore", select=part)
        report = verify(tmp_path / "m.pt", target, select=part, run=True)
        assert report.ok, [layer.cause for layer in report.layers]
    assert not verify(tmp_path / "m.pt", tmp_path / "one.ckpt", select="two").ok


@pytest.mark.parametrize(("levels", "directions"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("to", ["mindspore", "keras"])
def test_folded_projection(tmp_path, to, levels, directions):
    """W_hh·W_hr and what follows compute what the projected layer does, from any state it has."""
    pytest.importorskip(to)
    torch.manual_seed(3)
    lstm = torch.nn.LSTM(4, 9, levels, bidirectional=directions == 2, proj_size=3)
    torch.save(torch.nn.ModuleDict({"lstm": lstm}).state_dict(), tmp_path / "m.pt")
    target = tmp_path / TARGETS[to]
    ckptconv.convert(tmp_path / "m.pt", target, to=to, fold_proj=True)
    report = verify(tmp_path / "m.pt", target, run=True)
    assert report.ok, [layer.cause for layer in report.layers]
    assert [layer.target.split(", ")[-1] for layer in report.layers][1] == "lstm_proj"
    assert {run.side for run in report.layers[0].runs} == {"source", "target"}
    assert diff(tmp_path / "m.pt", target).ok or to == "keras"
    with torch.no_grad():
        lstm.weight_hr_l0[1, 2] += 1e-3
    torch.save(torch.nn.ModuleDict({"lstm": lstm}).state_dict(), tmp_path / "other.pt")
    wrong = verify(tmp_path / "other.pt", target)
    assert not wrong.ok
    assert wrong.layers[0].runs[0].difference.max_abs > 1e-5


def test_device_that_is_not_there(tmp_path):
    pytest.importorskip("mindspore")
    source, target = converted(tmp_path, "mindspore")
    golden(source, tmp_path / "v.npz")
    for device in ("GPU", "Ascend"):
        with pytest.raises(CkptconvError, match=f"cannot run.* on {device}"):
            verify(source, target, run=True, device=device)
        with pytest.raises(CkptconvError, match=f"cannot run.* on {device}"):
            replay(target, tmp_path / "v.npz", device=device)
    with pytest.raises(CkptconvError, match="unknown device 'TPU'"):
        verify(source, target, run=True, device="TPU")
    assert verify(source, target, run=True).ok


def test_what_the_conversion_was_told_verify_can_be_told(tmp_path):
    """Read options of the source; with a prefix, of the target."""
    torch.manual_seed(4)
    module = torch.nn.ModuleDict({"a": torch.nn.GRU(3, 5), "b": torch.nn.GRU(5, 5)})
    torch.save({"one": module.state_dict(), "two": Net().state_dict()}, tmp_path / "m.pt")
    told = {"select": "one", "fuse": {"rnn": ["a", "b"]}, "map": {"rnn": "encoder"}}
    told |= {"gates": "zrh"}
    target = tmp_path / "m.ckpt"
    ckptconv.convert(tmp_path / "m.pt", target, to="mindspore", **told)
    assert verify(tmp_path / "m.pt", target, **told).ok
    assert diff(tmp_path / "m.pt", target, **told).ok
    turned = {f"target_{name}": value for name, value in told.items()}
    assert verify(target, tmp_path / "m.pt", **turned).ok
    assert diff(target, tmp_path / "m.pt", **turned).ok
    assert not verify(tmp_path / "m.pt", target, **{**told, "gates": None}).ok
    assert golden(tmp_path / "m.pt", tmp_path / "v.npz", **told)["layers"][0]["path"] == "encoder"
    assert replay(target, tmp_path / "v.npz", reference_only=True).ok
    assert replay(tmp_path / "m.pt", tmp_path / "v.npz", reference_only=True, **told).ok
    assert roundtrip(tmp_path / "m.pt", via="mindspore", **told).ok
    for call in (verify, diff):
        with pytest.raises(TypeError, match=rf"{call.__name__}\(\).*fold_proj"):
            call(target, target, fold_proj=True)


def test_command_takes_them_too(tmp_path):
    torch.save({"one": Net(1).state_dict(), "two": Net(2).state_dict()}, tmp_path / "m.pt")
    files = [tmp_path / "m.pt"] * 2
    for command in ("verify", "diff"):
        asked = [command, *files, "--select", "one", "--rename", "lstm=x", "--target-select"]
        run(*asked, "one", "--target-rename", "lstm=x")
        run(*asked, "two", code=1)
