"""What a proof says, and no more: of settings, of other precisions, of files that it writes."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from ckptconv import convert, diff, golden, replay, roundtrip, verify
from ckptconv.errors import CkptconvError, UsageError
from ckptconv.verification.page.page import write_page
from tests.cli.test_cli import run

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")
CHANGES = {
    "dense": {"activation": "tanh"},
    "conv": {"strides": [2]},
    "norm": {"epsilon": 0.1},
    "rnn": {"go_backwards": True},
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One Keras model, and models that differ from it in one setting of a layer each."""
    folder = tmp_path_factory.mktemp("settings")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((9, 3)),
            layers.Conv1D(4, 3, name="conv", padding="same"),
            layers.LayerNormalization(name="norm"),
            layers.SimpleRNN(4, name="rnn", return_sequences=True, dropout=0.1),
            layers.Dense(3, name="dense", activation="relu"),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in model.get_weights()])
    model.save(folder / "plain.keras")
    for name, change in {**CHANGES, "same": {}}.items():
        config = json.loads(json.dumps(model.get_config()))
        for layer in config["layers"]:
            layer["config"].update(change if layer["config"]["name"] == name else {})
            layer["config"].update({"dropout": 0.3} if "dropout" in layer["config"] else {})
        other = keras.Sequential.from_config(config)
        other.set_weights(model.get_weights())
        other.save(folder / f"{name}.keras")
    return folder


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_both_files_record_is_compared(sources, name):
    report = verify(sources / "plain.keras", sources / f"{name}.keras")
    assert [layer.source for layer in report.layers if not layer.ok] == [name]
    assert "the files record other settings" in report.failures[0]


def test_what_acts_in_training_only_is_no_other_model(sources):
    assert verify(sources / "plain.keras", sources / "same.keras").ok


def test_a_layer_that_was_read_as_another_is_not_the_same(tmp_path):
    lstm = keras.layers.LSTM(4, activation="relu", name="lstm")
    keras.Sequential([keras.Input((5, 3)), lstm]).save(tmp_path / "m.keras")
    convert(tmp_path / "m.keras", tmp_path / "m.pt", to="torch", allow=["relu"])
    report = verify(tmp_path / "m.keras", tmp_path / "m.pt", allow=["relu"])
    assert report.verdict == "weights equal; 1 of 1 layers computed"
    assert any("outputs differ" in note for note in report.notes)


def test_outputs_of_another_shape_are_another_model(sources):
    report = verify(sources / "plain.keras", sources / "conv.keras", run=True)
    assert "(3, 4, 4), " in report.failures[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("gates") / "m.pt"
    torch.save(torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4)}).half().state_dict(), path)
    return path


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_another_precision_of_as_many_bits_is_rounding(model, tmp_path, dtype):
    convert(model, tmp_path / "n.safetensors", to="torch", dtype=dtype)
    assert verify(model, tmp_path / "n.safetensors").ok


NO_ROUNDING = {
    "wrapped": (np.int64([2**32 + 5, 3]), np.int32([5, 3])),
    "another sign": (np.uint8([200, 3]), np.int8([-56, 3])),
    "cut off": (np.float32([0.5, 3]), np.bool_([True, True])),
    "overflowed": (np.float32([1e5, 3]), np.float16([np.inf, 3])),
}


@pytest.mark.parametrize("name", NO_ROUNDING)
def test_what_another_dtype_cannot_hold_is_not_rounded(tmp_path, name):
    paths = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path, array in zip(paths, NO_ROUNDING[name], strict=True):
        save_file({"scale": array}, path)
    for one, other in (paths, paths[::-1]):
        assert [t.verdict for t in diff(one, other).tensors] == ["differ"]
        assert not verify(one, other).ok


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_wider_dtype_holds_exactly_what_it_was_made_from(tmp_path, dtype):
    torch.manual_seed(1)
    model = torch.nn.ModuleDict({"rnn": torch.nn.GRU(3, 4), "fc": torch.nn.Linear(4, 2)})
    narrow, wide = tmp_path / "narrow.pt", tmp_path / "wide.pt"
    state = {name: w.to(getattr(torch, dtype)) for name, w in model.state_dict().items()}
    torch.save(state, narrow)
    state = {name: w.float() for name, w in state.items()}
    torch.save(state, wide)
    assert verify(narrow, wide).ok
    state["fc.weight"][1, 2] *= 1 + 1e-4
    torch.save(state, wide)
    assert [layer.source for layer in verify(narrow, wide).layers if not layer.ok] == ["fc"]


def rnn(path, factor=1):
    """Write an RNN of relu and a Linear, with weights up to a factor."""
    torch.manual_seed(1)
    layers = {"rnn": torch.nn.RNN(3, 4, nonlinearity="relu"), "fc": torch.nn.Linear(4, 2)}
    state = torch.nn.ModuleDict(layers).state_dict()
    torch.save({name: w * factor for name, w in state.items()}, path)
    return {"kinds": {"rnn": "RNN(nonlinearity='relu')"}}


def test_a_run_that_failed_is_not_ok(tmp_path):
    """Asked for no difference at all, a difference of float32's last bits is one."""
    kinds = rnn(tmp_path / "m.pt")
    convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", **kinds)
    report = verify(tmp_path / "m.pt", tmp_path / "m.ckpt", run=True, tolerance=0.0, **kinds)
    assert not all(run.ok for _, run in report.runs)
    assert "more than is allowed" in report.failures[0]


def test_numbers_that_overflow_show_nothing(tmp_path):
    source, target, vectors = (tmp_path / name for name in ("m.pt", "m.ckpt", "v.npz"))
    kinds = rnn(source, 1e20)
    convert(source, target, to="mindspore", **kinds)
    report = verify(source, target, run=True, **kinds)
    assert report.verdict == "weights equal; 1 of 2 layers run"
    assert report.notes == [
        f"rnn: the {side} is not run: float32 cannot hold its numbers"
        for side in ("source", "target")
    ]
    assert golden(source, vectors, **kinds)["layers"][0]["tolerances"] == {}
    with pytest.raises(CkptconvError, match="no tolerance for torch CPU, where these numbers"):
        replay(source, vectors, **kinds)
    assert replay(source, vectors, reference_only=True, **kinds).ok


def test_what_overflows_on_one_device_is_replayed_on_others(tmp_path):
    kinds = rnn(tmp_path / "m.pt", 1e6)
    meta = golden(tmp_path / "m.pt", tmp_path / "v.npz", **kinds)
    assert set(meta["layers"][0]["rounding"]) == {"float32", "bfloat16"}
    assert "mindspore Ascend" not in meta["layers"][0]["tolerances"]
    assert replay(tmp_path / "m.pt", tmp_path / "v.npz", **kinds).ok


@pytest.mark.parametrize("option", [{"gates": "iofc"}, {"forget_bias": 1.0}])
def test_gates_of_other_meaning_are_not_run_as_the_framework_has_them(model, tmp_path, option):
    convert(model, tmp_path / "m.ckpt", to="mindspore", dtype="float32", **option)
    report = verify(model, tmp_path / "m.ckpt", run=True, **option)
    assert report.ok
    assert any("the source is not run" in note for note in report.notes)
    assert {run.side for layer in report.layers for run in layer.runs} == {"target"}


def test_layers_that_files_call_otherwise_are_not_the_same(tmp_path):
    """Of equal weights: what is run for both is built from what the source says."""
    embedding, linear = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 5, bias=False)
    linear.weight = embedding.weight
    pairs = [(torch.nn.GroupNorm(2, 4), torch.nn.LayerNorm(4)), (embedding, linear)]
    for one, other in pairs:
        for name, layer in (("a.pt", one), ("b.pt", other)):
            torch.save(torch.nn.ModuleDict({"x": layer}), tmp_path / name)
        assert verify(tmp_path / "a.pt", tmp_path / "a.pt").ok
        failures = verify(tmp_path / "a.pt", tmp_path / "b.pt").failures
        kinds = f"{type(one).__name__} | {type(other).__name__}"
        assert failures == [f"x: the files record other settings: kind {kinds}"]


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_layers_whose_outputs_are_no_numbers_are_not_run(tmp_path, number):
    """NaN is NaN whatever is computed: the weights are equal, and that is all that is known."""
    network = torch.nn.ModuleDict({"rnn": torch.nn.GRU(3, 4), "fc": torch.nn.Linear(4, 2)})
    state = network.state_dict()
    for name in ("rnn.weight_hh_l0", "fc.bias"):
        state[name].fill_(np.nan if "hh" in name else number)
    state["empty.weight"], state["empty.bias"] = torch.zeros(0, 4), torch.zeros(0)
    torch.save(state, tmp_path / "m.pt")
    report = verify(tmp_path / "m.pt", tmp_path / "m.pt", run=True)
    assert report.ok
    assert report.verdict.startswith("weights equal; 0 of 3 layers"), report.verdict
    assert sum("shows nothing" in note for note in report.notes) == 3
    with pytest.raises(CkptconvError, match=r"rnn: its outputs are no finite numbers"):
        golden(tmp_path / "m.pt", tmp_path / "v.npz")
    assert not (tmp_path / "v.npz").exists()


def test_a_layer_that_only_the_source_ran_is_not_run(tmp_path):
    state = {f"rnn.{n}": value for n, value in torch.nn.LSTM(3, 4).state_dict().items()}
    other = {n: torch.cat([value.chunk(4)[i] for i in (0, 3, 1, 2)]) for n, value in state.items()}
    torch.save(state, tmp_path / "m.pt")
    torch.save(other, tmp_path / "o.pt")
    report = verify(tmp_path / "m.pt", tmp_path / "o.pt", run=True, target_gates="iofc")
    assert report.ok
    assert report.verdict == "weights equal; 0 of 1 layers run"


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0])
def test_a_tolerance_is_a_number_that_something_can_exceed(model, value):
    for call in (
        lambda: verify(model, model, tolerance=value),
        lambda: diff(model, model, atol=value),
    ):
        with pytest.raises(UsageError, match="expected a number that is not negative"):
            call()


@pytest.mark.parametrize("wrong", [{}, {"eps": 1e-5}, {"nonlinearity": "tanh"}])
def test_settings_that_files_of_two_frameworks_record_are_compared(tmp_path, wrong):
    layers = keras.layers
    norm = layers.LayerNormalization(name="norm")
    line = layers.Conv1D(4, 3, padding="same", name="line")
    rnn = layers.SimpleRNN(4, activation="relu", return_sequences=True, name="rnn")
    source = keras.Sequential([keras.Input((5, 6)), norm, line, rnn])
    source.save(tmp_path / "m.keras")
    report = convert(tmp_path / "m.keras", tmp_path / "m.pt", to="torch")
    assert report.written
    network = torch.nn.ModuleDict(
        {
            "norm": torch.nn.LayerNorm(6, eps=wrong.get("eps", 1e-3)),
            "line": torch.nn.Conv1d(6, 4, 3, padding=1),
            "rnn": torch.nn.RNN(
                4, 4, batch_first=True, nonlinearity=wrong.get("nonlinearity", "relu")
            ),
        }
    )
    network.load_state_dict(torch.load(tmp_path / "m.pt"))
    torch.save(network, tmp_path / "whole.pt")
    failures = verify(tmp_path / "m.keras", tmp_path / "whole.pt").failures
    assert len(failures) == len(wrong)
    assert all(f"other settings: {name} " in failures[0] for name in wrong)


@pytest.mark.parametrize(
    "call", [lambda p, **o: verify(p, p, **o), lambda p, **o: golden(p, "x", **o)]
)
def test_a_seed_is_a_whole_number(model, call):
    for seed in (-1, 1.5):
        with pytest.raises(UsageError, match="whole number"):
            call(model, seed=seed)


def dense(folder, factor):
    """Write a Keras model of one Dense, with weights up to a factor, and what it is in torch."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="dense")])
    rng = np.random.default_rng(0)
    model.set_weights([factor * rng.uniform(0.1, 0.5, w.shape) for w in model.get_weights()])
    source, weights, net = (folder / name for name in ("m.keras", "m.pt", "net.py"))
    model.save(source)
    convert(source, weights, to="torch", network=net)
    return source, weights, net


def test_a_network_that_overflows_on_one_device_is_replayed_on_others(tmp_path):
    source, weights, net = dense(tmp_path, 1e6)
    meta = golden(source, tmp_path / "v.npz", network=True)
    assert "mindspore Ascend" not in meta["cases"][0]["tolerances"]
    assert replay(weights, tmp_path / "v.npz", network=net).ok


class Outputs(torch.nn.Module):
    """Outputs that are no floats, or show nothing."""

    def __init__(self):
        super().__init__()
        self.embed, self.fc = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 5)

    def forward(self, x):
        y = self.fc(self.embed(x))
        return y, y > 0, x + 3_000_000, torch.log(y - 99), torch.relu(y - 99), y[:, :0]


def test_outputs_that_are_no_floats_or_show_nothing(tmp_path):
    torch.manual_seed(0)
    source, weights, net, vectors = (tmp_path / n for n in ("m.pt2", "m.pt", "net.py", "v.npz"))
    given = torch.arange(8).reshape(2, 4)
    torch.export.save(torch.export.export(Outputs().eval(), (given,)), source)
    convert(source, weights, to="torch", network=net)
    golden(source, vectors, network=True)
    proofs = {
        "verify": lambda: verify(source, weights, run=True, network=net),
        "replay": lambda: replay(weights, vectors, network=net),
    }
    for prove in proofs.values():
        report = prove()
        assert report.ok
        assert "6 outputs (3 of which show nothing)" in report.verdict
        assert not report.verdict.startswith("the same model")
        said = [note.split() for note in report.notes if "shows nothing" in note]
        assert [words[:2] for words in said] == [["output", n] for n in "345"]
    text = net.read_text()
    assert "3000000" in text
    net.write_text(text.replace("3000000", "3000001"))
    for prove in proofs.values():
        assert [one.output for one in prove().network.runs if not one.run.ok] == [2]


def test_small_outputs_are_held_against_small_tolerances(tmp_path):
    source, weights, net = dense(tmp_path, 1e-6)
    for runs in ({"run": True}, {"run": True, "network": net}):
        assert verify(source, weights, **runs).ok
    text = net.read_text()
    assert "self.dense(" in text
    net.write_text(text.replace("return self.dense(", "return 0 * self.dense("))
    assert not verify(source, weights, run=True, network=net).ok


def test_nothing_is_written_over_a_checkpoint(model):
    before = model.read_bytes()
    with pytest.raises(CkptconvError, match="the source itself"):
        roundtrip(model, via="keras", report=model, force=True)
    with pytest.raises(CkptconvError, match="the source itself"):
        write_page(model, verify(model, model), force=True)
    _, error = run("match", model, model, "-o", model, "--force", code=1)
    assert "the map would overwrite" in error
    assert model.read_bytes() == before
