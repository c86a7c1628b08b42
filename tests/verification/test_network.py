"""verify --network: a written network against the source's own model, run in both frameworks."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

import ckptconv
from ckptconv import networks
from ckptconv.errors import CkptconvError, UsageError, VerificationError
from ckptconv.options import ReadOptions
from ckptconv.verification import npz
from ckptconv.verification.frameworks.keras import TfKeras
from ckptconv.verification.frameworks.torch import Torch
from ckptconv.verification.network.inputs import MAGNITUDES, cases
from ckptconv.verification.network.source import Source
from ckptconv.verification.page.page import page
from tests.cli.test_cli import run
from tests.conftest import ROOT
from tests.network.test_features import fill
from tests.network.torch_models import exported
from tests.verification.test_diff import SCHEMA, valid

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
pytest.importorskip("mindspore")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

GOLDEN = ROOT / "tests" / "golden" / "keras"
VOCABULARY = 9
FILES = {"torch": "m.pt", "mindspore": "m.ckpt"}


def model():
    """Return a model of masks, free lengths, gates that no nn layer has, two inputs and outputs."""
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.Input((None, 3), name="x")
    known = layers.Embedding(VOCABULARY, 4, mask_zero=True, name="embed")(tokens)
    both = layers.LSTM(4, return_sequences=True, recurrent_activation="hard_sigmoid")
    tagged = layers.Bidirectional(both, name="both")(known)
    last = layers.GRU(5, reset_after=False, name="gru")(layers.Masking(name="masking")(x))
    tags = layers.Dense(3, activation="softmax", name="tags")(tagged)
    head, other = (
        layers.Dense(3, activation="tanh", name=name)(last) for name in ("head", "other")
    )
    made = keras.Model([tokens, x], [tags, head, other])
    fill(made)
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a folder with a model, and its weights and network for both targets."""
    folder = tmp_path_factory.mktemp("written")
    model().save(folder / "m.keras")
    for to, name in FILES.items():
        network = folder / f"{to}_net.py"
        ckptconv.convert(folder / "m.keras", folder / name, to=to, network=network)
    return folder


def proved(folder, to, network=None, weights=None):
    return ckptconv.verify(
        folder / "m.keras",
        weights or folder / FILES[to],
        run=True,
        network=network or folder / f"{to}_net.py",
    )


@pytest.mark.parametrize("to", FILES)
def test_every_output_is_run_and_compared(written, to):
    report = proved(written, to)
    assert report.ok, report.network.cause
    document = valid(report)["network"]
    sizes = [(case["batch"], case["length"], case["masked"]) for case in document["cases"]]
    assert sizes == [(4, 7, True), (1, 7, True), (4, 12, True), *[(4, 7, True)] * len(MAGNITUDES)]
    assert [case["magnitude"] for case in document["cases"]] == [1, 1, 1, *MAGNITUDES]
    ways = list(dict.fromkeys(run["by"] for run in document["runs"]))
    by = report.frameworks[1]
    assert ways == [by] if to == "torch" else [by, f"{by}, MINDIR"]
    assert len(document["runs"]) == len(sizes) * 3 * len(ways)
    assert {run["against"] for run in document["runs"]} == {f"source in {report.frameworks[0]}"}
    plain = [run for run in document["runs"] if run["case"] < 3]
    worst = max(run["difference"]["max_abs"] for run in plain)
    assert worst < (1e-6 if to == "torch" else 5e-6)
    assert report.verdict == (
        "the same model: weights equal; 2 of 6 layers computed; the network run in"
        f" {' and '.join(ways)}: 3 outputs on 7 sets of inputs"
    )
    shown = page(report)
    assert document["sha256"] in shown
    captions = re.findall(rf"output 1 head, [^:<>]+: target in {re.escape(by)} against", shown)
    assert len(captions) == 2 * 7
    assert len(set(captions)) == 7
    for _, headers, rows in report.tables():
        assert all(len(row) == len(headers) for row in rows)


def changed(folder, tmp_path, to, old, new):
    """Write a network in which one place that a pattern fits is another."""
    text, count = re.subn(old, new, (folder / f"{to}_net.py").read_text())
    assert count == 1, count
    path = tmp_path / "net.py"
    path.write_text(text)
    return path


WRONG = {
    "activation": (r"torch.tanh\(self.head", "torch.relu(self.head", "output 1 .* is off by"),
    "gate": ("recurrent_activation=nn.functional.hardsigmoid,", "", "output 0 .* is off by"),
    "reset gate": ("reset_after=False\\)", "reset_after=True)", "output [12] .* is off by"),
    "mask": (r"(self.both\(\w+), mask=\w+", r"\1", "output 0 .* is off by"),
    "order": (r"return (\S+), (\S+), (\S+)\n", r"return \1, \3, \2\n", "output 1 .* is off by"),
    "fewer": (r"return (\S+), (\S+), (\S+)\n", r"return \1, \2\n", "gives 2 outputs.*expected 3"),
    "shape": (r"\[:, -1\]", "[:, -1:]", "output 1 .* has another shape .*expected"),
    "not finite": (r"torch.tanh\(self.head", "torch.log(-2 + 0 * self.head", "off by inf"),
    "raises": ("import torch\n", "import torch\nraise OSError('gone')\n", "OSError: gone"),
    "exits": ("import torch\n", "import torch\nraise SystemExit(0)\n", "SystemExit"),
    "no Python": ("class Net", "klass Net", "SyntaxError"),
    "other layers": (
        "self.head = ",
        "self.more = nn.Linear(1, 1)\n        self.head = ",
        "more.weight",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_network_fails(written, tmp_path, name):
    old, new, cause = WRONG[name]
    report = proved(written, "torch", changed(written, tmp_path, "torch", old, new))
    assert report.verdict == "NOT the same model"
    assert all(layer.ok for layer in report.layers)
    assert re.search(cause, valid(report)["network"]["cause"]), report.network.cause
    assert re.search(cause, page(report))
    assert "ckptconv_network" not in " ".join(sys.modules)


def test_one_wrong_weight_fails_twice(written, tmp_path):
    """The weights are compared, and the network computes otherwise with them."""
    state = torch.load(written / "m.pt")
    state["head.weight"][1, 2] += 1e-3
    torch.save(state, tmp_path / "m.pt")
    report = proved(written, "torch", weights=tmp_path / "m.pt")
    assert [layer.source for layer in report.layers if not layer.ok] == ["head"]
    assert report.network.cause.startswith("output 1 ")
    del state["other.bias"]
    torch.save(state, tmp_path / "m.pt")
    report = proved(written, "torch", weights=tmp_path / "m.pt")
    assert [layer.source for layer in report.layers if not layer.ok] == ["head", "other"]
    assert "other.bias" in report.network.cause


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Return a folder with a torch.export archive, its weights and network for MindSpore."""
    folder = tmp_path_factory.mktemp("program")
    exported("encoder", folder / "m.pt2")
    network = folder / "mindspore_net.py"
    ckptconv.convert(folder / "m.pt2", folder / "m.ckpt", to="mindspore", network=network)
    return folder


def test_torch_export_to_mindspore(program, tmp_path):
    """Integers of two inputs that one Embedding takes; and a MINDIR of other weights."""
    network = changed(
        program, tmp_path, "mindspore", r"ms.export\(load\(weights\)",
        "net = load(weights)\n    net.emb.embedding_table += 1e-3\n    ms.export(net",
    )  # fmt: skip
    report = ckptconv.verify(program / "m.pt2", program / "m.ckpt", run=True, network=network)
    assert [case["batch"] for _, case in report.network.cases] == [4, 1]
    assert report.frameworks[0].startswith("torch")
    right = [one.run.ok for one in report.network.runs]
    assert right == [True, True, False, False], report.network.cause
    assert "MINDIR, allowed" in report.network.cause


def test_outputs_of_other_numbers_fail(tmp_path):
    """True is 1, and no more than that."""

    class Flags(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3, 2)

        def forward(self, x):
            return self.fc(x) > 0

    torch.manual_seed(0)
    torch.export.save(torch.export.export(Flags(), (torch.ones(4, 3),)), tmp_path / "m.pt2")
    network = tmp_path / "torch_net.py"
    ckptconv.convert(tmp_path / "m.pt2", tmp_path / "m.pt", to="torch", network=network)
    files = tmp_path / "m.pt2", tmp_path / "m.pt"
    assert ckptconv.verify(*files, run=True, network=network).ok
    ckptconv.golden(files[0], tmp_path / "v.npz", network=True)
    assert ckptconv.replay(files[1], tmp_path / "v.npz", network=network).ok
    network.write_text(re.sub(r"return (.*> 0)\n", r"return (\1).float()\n", network.read_text()))
    cause = ckptconv.verify(*files, run=True, network=network).network.cause
    assert re.search("output 0 .* is of other numbers .*expected bool, found float32", cause), cause


def test_torchs_attention_in_steps(tmp_path):
    """The source's network takes the weights one by one; the target's file is read as it is."""
    exported("attended", tmp_path / "m.pt2")
    network = tmp_path / "net.py"
    ckptconv.convert(tmp_path / "m.pt2", tmp_path / "m.ckpt", to="mindspore", network=network)
    report = ckptconv.verify(tmp_path / "m.pt2", tmp_path / "m.ckpt", run=True, network=network)
    assert report.ok, report.verdict
    assert report.missing == report.added == []


def test_weights_with_a_configuration_beside_them_on_the_command_line(tmp_path):
    """A process of its own, in which no loop was compiled before: two directions export."""
    layers = keras.layers
    both = layers.Bidirectional(layers.LSTM(4, recurrent_activation="hard_sigmoid"))
    made = keras.Sequential([keras.Input((None, 3)), both])
    fill(made)
    made.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(made.to_json())
    asked = ["m.weights.h5", "m.ckpt", "--config", "m.json", "--network", "net.py"]
    _, err = run("verify", *asked, cwd=tmp_path, code=2)
    assert "expected --run" in err
    network = tmp_path / "net.py"
    ckptconv.convert(tmp_path / "m.weights.h5", tmp_path / "m.ckpt", to="mindspore",
                     config=tmp_path / "m.json", network=network)  # fmt: skip
    network.write_text(network.read_text() + "\n\nprint('said by the network')\n")
    out, err = run("verify", *asked, "--run", "--json", "--html", "page.html", cwd=tmp_path)
    document = json.loads(out)
    assert document["ok"], document["network"]["cause"]
    assert {one["by"].rpartition(", ")[2] for one in document["network"]["runs"]} >= {"MINDIR"}
    assert "the network run in mindspore" in (tmp_path / "page.html").read_text()
    assert "said by the network" in err


STANDALONE = """
import sys
sys.modules.update(torch=None, keras=None, tensorflow=None)
import ckptconv
report = ckptconv.replay(*sys.argv[1:3], network=sys.argv[3])
assert report.ok, report.network.cause
print(report.verdict)
"""


def test_golden_here_and_replay_where_mindspore_is_alone(program, tmp_path):
    vectors = tmp_path / "v.npz"
    ckptconv.golden(program / "m.pt2", vectors, network=True)
    files = [program / "m.ckpt", vectors, program / "mindspore_net.py"]
    done = subprocess.run(
        [sys.executable, "-c", STANDALONE, *files],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1].endswith("MINDIR: 1 output on 2 sets of inputs")


def test_vectors_of_a_network(written, tmp_path):
    one, two = tmp_path / "v.npz", tmp_path / "w.npz"
    meta = ckptconv.golden(written / "m.keras", one, network=True)
    pytest.importorskip("jsonschema").Draft202012Validator(SCHEMA).validate(meta)
    assert ckptconv.golden(written / "m.keras", two, network=True) == meta
    assert one.read_bytes() == two.read_bytes()
    for limits in (case["tolerances"] for case in meta["cases"]):
        pairs = zip(limits["mindspore CPU"], limits["mindspore Ascend"], strict=True)
        assert all(cpu + 1e-6 < ascend < 1e-2 for cpu, ascend in pairs)


def test_replay_finds_what_is_wrong(written, tmp_path):
    vectors = tmp_path / "v.npz"
    ckptconv.golden(written / "m.keras", vectors, network=True)
    network = written / "torch_net.py"
    report = ckptconv.replay(written / "m.pt", vectors, network=network)
    assert report.ok
    assert valid(report)["layers"] == []
    state = torch.load(written / "m.pt")
    state["gru.weight_hh_l0"] *= -1
    torch.save(state, tmp_path / "wrong.pt")
    wrong = changed(written, tmp_path, "torch", *WRONG["gate"][:2])
    for weights, net in ((tmp_path / "wrong.pt", network), (written / "m.pt", wrong)):
        assert "is off by" in ckptconv.replay(weights, vectors, network=net).network.cause
    torch.save({name: value + 0.5 for name, value in state.items()}, tmp_path / "other.pt")
    with pytest.raises(VerificationError, match="made for another model"):
        ckptconv.replay(tmp_path / "other.pt", vectors, network=network)
    with pytest.raises(CkptconvError, match=r"try network='FILE.py'"):
        ckptconv.replay(written / "m.pt", vectors)
    with pytest.raises(UsageError, match="no reference_only"):
        ckptconv.replay(written / "m.pt", vectors, network=network, reference_only=True)
    torch.save(torch.nn.ModuleDict({"l": torch.nn.LSTM(2, 3)}).state_dict(), tmp_path / "l.pt")
    ckptconv.golden(tmp_path / "l.pt", tmp_path / "l.npz")
    with pytest.raises(CkptconvError, match="replay without network"):
        ckptconv.replay(tmp_path / "l.pt", tmp_path / "l.npz", network=network)


def test_damaged_vectors_of_a_network(written, tmp_path):
    vectors = tmp_path / "v.npz"
    meta = ckptconv.golden(written / "m.keras", vectors, network=True)
    arrays = npz.read(vectors)
    case = meta["cases"][0]
    documents = [
        {**meta, "cases": []},
        {**meta, "cases": [{**case, "batch": "x"}]},
        {**meta, "cases": [{**case, "tolerances": {"torch CPU": [1e-6]}}]},
        {**meta, "inputs": ["int32", "object"]},
        {**meta, "outputs": ["a", 1]},
        {**meta, "states": -1},
        {**meta, "fingerprint": {}},
        [],
    ]
    files = [{**arrays, "meta": npz.encode(document)} for document in documents]
    files += [{n: a for n, a in arrays.items() if n != name} for name in ("0.x.1", "2.y.0")]
    files.append({**arrays, "0.x.0": arrays["0.x.0"].astype("f4")})
    for file in files:
        npz.write(vectors, file)
        with pytest.raises(CkptconvError, match="not a vectors file"):
            ckptconv.replay(written / "m.pt", vectors, network=written / "torch_net.py")


def test_a_framework_that_is_not_here(written, monkeypatch):
    monkeypatch.setattr(Torch, "module", "torch_that_is_absent")
    with pytest.raises(CkptconvError, match=r"torch_that.*cannot be imported.*try pip install"):
        proved(written, "torch")


def test_what_cannot_be_run(written, tmp_path, monkeypatch):
    """Keras 3 reads files of Keras 2 and computes other numbers: their own Keras is asked for."""
    network = written / "torch_net.py"
    with pytest.raises(UsageError, match="expected run=True"):
        ckptconv.verify(written / "m.keras", written / "m.pt", network=network)
    with pytest.raises(CkptconvError, match=r"no\.py: cannot be read"):
        proved(written, "torch", tmp_path / "no.py")
    x = keras.Input((5,))
    keras.Model(x, keras.layers.Dense(2)(x)).save(tmp_path / "k.keras")
    with pytest.raises(CkptconvError, match=r"no written network is for it.*found keras"):
        ckptconv.verify(tmp_path / "k.keras", tmp_path / "k.keras", run=True, network=network)
    old, new = GOLDEN / "tf212_hard_full.h5", tmp_path / "m.pt"
    ckptconv.convert(old, new, to="torch", network=tmp_path / "net.py")
    monkeypatch.setattr(TfKeras, "module", "tf_keras_that_is_absent")
    with pytest.raises(CkptconvError, match="a file of Keras before 3, and cannot be imported"):
        ckptconv.verify(old, new, run=True, network=tmp_path / "net.py")


def small(path, inputs, outputs):
    made = keras.Model(inputs, outputs)
    fill(made)
    made.save(path / "s.keras")
    ckptconv.convert(path / "s.keras", path / "s.pt", to="torch", network=path / "s.py")
    report = ckptconv.verify(path / "s.keras", path / "s.pt", run=True, network=path / "s.py")
    assert report.ok, report.network.cause
    return report


def test_inputs_have_room_for_windows(tmp_path):
    x = keras.Input((None, 3))
    report = small(tmp_path, x, keras.layers.Conv1D(4, 30)(x))
    assert [case["length"] for _, case in report.network.cases[:3]] == [112, 112, 192]


def test_no_masked_steps_are_claimed_where_there_is_one_step(tmp_path):
    x = keras.Input((1, 3))
    report = small(tmp_path, x, keras.layers.LSTM(4)(keras.layers.Masking()(x)))
    assert [said for said, _ in report.network.cases[:3]] == [
        "batch 4",
        "batch 1",
        "batch 4, inputs up to 0.0078125",
    ]


def test_states_that_the_source_keeps(tmp_path):
    x = keras.Input((6, 3), batch_size=3)
    report = small(tmp_path, x, keras.layers.GRU(4, stateful=True)(x))
    assert [case["shapes"] for _, case in report.network.cases] == [[[3, 6, 3], [3, 4]]] * 5
    assert any("first states are zeros" in note for note in report.notes)


def test_dictionaries_of_inputs_and_outputs(tmp_path):
    x, z = keras.Input((6, 3), name="x"), keras.Input((6, 3), name="a")
    lstm, gru = keras.layers.LSTM(4)(x), keras.layers.GRU(4)(z)
    assert len(small(tmp_path, {"z": x, "b": z}, {"q": lstm, "c": gru}).network.runs) == 12


def test_what_shows_nothing_is_told(tmp_path):
    x = keras.Input((5,))
    report = small(tmp_path, x, keras.layers.Dense(1, activation="softmax")(x))
    assert "is 1 whatever goes in, which shows nothing" in report.notes[0]


def test_inputs_of_a_network(written):
    graph, network = networks.read(written / "m.keras", ckptconv.ReadOptions())
    one, two = (cases(network, graph, seed) for seed in (0, 1))
    assert [str(case) for case in one] == [str(case) for case in two]
    tokens, x = one[0].arrays
    assert not np.array_equal(tokens, two[0].arrays[0])
    assert (tokens.dtype, x.dtype) == (np.int32, np.float32)
    assert tokens.max() < VOCABULARY
    left_out = [[0, 1, 2], [4, 5, 6], [1, 2, 3], []]
    assert [np.flatnonzero(row == 0).tolist() for row in tokens] == left_out
    assert [np.flatnonzero((row == 0).all(-1)).tolist() for row in x] == left_out


def test_one_of_a_batch_and_as_few_as_a_program_takes(tmp_path):
    """What is done to a batch of one alone, such as a squeeze too many, shows on one alone."""
    for least, path in ((1, tmp_path / "a.pt2"), (3, tmp_path / "b.pt2")):
        free = ({0: torch.export.Dim("batch", min=least, max=9)},)
        layers = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
        program = torch.export.export(layers.eval(), (torch.randn(5, 3),), dynamic_shapes=free)
        torch.export.save(program, path)
        net, weights = path.with_suffix(".py"), path.with_suffix(".pt")
        ckptconv.convert(path, weights, to="torch", network=net)
        report = ckptconv.verify(path, weights, run=True, network=net)
        assert report.ok, report.network.cause
        assert [case["batch"] for _, case in report.network.cases][:2] == [4, least]
        text = net.read_text()
        assert "torch.tanh(" in text
        squeezed = text.replace("torch.tanh(", "(lambda x: x.tanh() if len(x) > 1 else x)(")
        net.write_text(squeezed)
        assert ckptconv.verify(path, weights, run=True, network=net).ok == (least == 3)


def test_a_tolerance_is_meant_for_outputs_of_inputs_up_to_one(tmp_path):
    x = keras.Input((5,))
    made = keras.Model(x, keras.layers.Dense(3)(keras.layers.Dense(64, activation="relu")(x)))
    fill(made)
    made.save(tmp_path / "s.keras")
    files = [tmp_path / name for name in ("s.keras", "s.pt", "s.py")]
    ckptconv.convert(*files[:2], to="torch", network=files[2])
    asked = {"run": True, "network": files[2]}
    report = ckptconv.verify(*files[:2], **asked, tolerance=1e-5)
    assert report.ok, report.network.cause
    large = {one.run.tolerance > 1e-5 for one in report.network.runs if one.case > 2}
    assert {one.run.tolerance for one in report.network.runs if one.case < 3} == {1e-5}
    assert large == {True}
    assert max(one.run.difference.max_abs for one in report.network.runs) > 1e-5


BY_HAND = """
    mean, variance = x.mean((1, 2, 3), keepdim=True), x.var((1, 2, 3), False, keepdim=True)
    return (x - mean) / (variance + 1e-3).sqrt() * y[:, None, None] + z[:, None, None]
"""


def test_layers_that_a_person_wrote(tmp_path):
    """What cannot be written is left as a function, and is run once it is written by hand."""
    x = keras.Input((3, 3, 2))
    made = keras.Model(x, keras.layers.GroupNormalization(1, axis=1, name="norm")(x))
    fill(made)
    made.save(tmp_path / "s.keras")
    source, target, net, vectors = (tmp_path / f"s.{n}" for n in ("keras", "pt", "py", "npz"))
    ckptconv.convert(source, target, to="torch", network=net, stubs=["norm"])
    net.write_text(net.read_text().replace("    raise NotImplementedError", BY_HAND + "    raise"))
    asked = {"run": True, "network": net, "stubs": ["norm"]}
    assert ckptconv.verify(source, target, **asked).ok
    ckptconv.golden(source, vectors, network=True, stubs=["norm"])
    assert ckptconv.replay(target, vectors, network=net).ok
    net.write_text(net.read_text().replace("1e-3", "1e-5"))
    assert not ckptconv.verify(source, target, **asked).ok
    with pytest.raises(UsageError, match=r"stubs speaks of a written network.*network='FILE.py'"):
        ckptconv.verify(source, target, stubs=["norm"])


def test_what_is_left_of_a_closed_gate_is_no_measure(tmp_path):
    """Some millionths of an output are left then, which rounding moves by as much."""
    x = keras.Input((4,))
    gate = keras.activations.sigmoid(keras.layers.Dense(4)(keras.ops.absolute(x)))
    made = keras.Model(x, keras.ops.subtract(1.0, gate))
    made.set_weights([np.full((4, 4), 0.7), np.full(4, 2.0)])
    made.save(tmp_path / "s.keras")
    source = Source(*networks.read(tmp_path / "s.keras", ReadOptions()), beside=False)
    answers = source.answers(0)
    limits = source.allowed(answers, "mindspore")
    closed = [i for i, row in enumerate(answers.outputs) if 0 < np.abs(row[0]).max() < 1e-4]
    assert closed
    assert all(limits[i][0] >= 2e-4 for i in closed)
