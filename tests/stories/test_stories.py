"""Ten stories in a terminal of 80 and of 120 columns: lines are typed, messages read and pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
import torch
from mindspore import nn

from tests.conftest import ROOT
from tests.stories import sources
from tests.stories.terminal import Terminal

pytestmark = pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")


@pytest.fixture(params=[80, 120])
def terminal(request, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, request.param)


@pytest.fixture
def tagger(terminal: Terminal) -> Path:
    path = terminal.folder / "tagger.pt"
    path.write_bytes((ROOT / "samples/tagger.pt").read_bytes())
    return path


def left(terminal: Terminal) -> list[str]:
    return sorted(name for name in os.listdir(terminal.folder) if name != ".bin")


@pytest.fixture
def pasted(terminal: Terminal, monkeypatch: pytest.MonkeyPatch):
    """Return what runs lines of Python in the folder of the terminal."""
    monkeypatch.chdir(terminal.folder)
    monkeypatch.syspath_prepend(terminal.folder)
    monkeypatch.delitem(sys.modules, "net", raising=False)

    def run(lines: list[str], **given: object) -> dict[str, object]:
        exec("\n".join(lines), given)
        return given

    return run


class Half(nn.Cell):
    def __init__(self, calls: dict[str, object]) -> None:
        super().__init__()
        self.rnn, self.embedding = calls["rnn"], calls["embedding"]

    def construct(self, x):
        return self.embedding(self.rnn(x)[0])


class CRNN(nn.Cell):
    """The network of ``sources.CRNN``, of the calls that the report printed."""

    def __init__(self, calls: dict[str, object]) -> None:
        super().__init__()
        names = ("conv0", "pooling", "conv1", "batchnorm1", "pooling", "conv2", "batchnorm2")
        steps = [(n, calls.get(f"cnn.{n}") or nn.MaxPool2d(2, 2)) for n in names]
        self.cnn = nn.SequentialCell([layer for _, layer in steps])
        for name, layer in steps:
            layer.update_parameters_name(f"cnn.{name}.")
        halves = [Half({n: calls[f"rnn.{i}.{n}"] for n in ("rnn", "embedding")}) for i in range(2)]
        self.rnn = nn.SequentialCell(halves)

    def construct(self, x):
        return self.rnn(self.cnn(x).squeeze(2).transpose(2, 0, 1))


def test_a_crnn_of_lightning(terminal: Terminal, pasted) -> None:
    network, given = sources.lightning(terminal.folder / "crnn.ckpt")
    seen = terminal.type("ckptconv torch2ms crnn.ckpt").fits()
    assert seen.code == 0
    assert left(terminal) == ["crnn.ckpt", "crnn.mindspore.ckpt"]
    rule = re.search(r"--rename '.*?'", seen.text)[0]  # its names begin with 'model.'
    seen = terminal.type(f"ckptconv torch2ms crnn.ckpt {rule} --force").fits()
    seen.whole("rnn.0.embedding", "running_mean", "moving_mean", "optimizer_states (")
    assert "left out: beside the selected weights: epoch (1), global_step (2)" in seen.text
    calls = {}
    for line in seen.copied("nn."):
        call, _, path = line.partition("  # ")
        padded = call.replace("3, pad_mode", "3, padding=1, pad_mode")  # assumed 0, as it says
        calls[path] = eval(padded, {"nn": nn})
    cell = CRNN(calls)
    pasted(seen.lines[-3:], network=cell)
    cell.set_train(False)
    with torch.no_grad():
        expected = network(given).numpy()
    found = cell(ms.Tensor(given.numpy())).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_old_sentiment_model(terminal: Terminal, pasted) -> None:
    sources.sentiment(terminal.folder / "sentiment.h5")
    seen = terminal.type("ckptconv keras2ms sentiment.h5").fits()
    assert seen.code == 1
    assert left(terminal) == ["sentiment.h5"]
    seen.whole("--allow hard_sigmoid", "--network FILE.py")
    seen = terminal.type("ckptconv keras2ms sentiment.h5 --network net.py").fits()
    assert seen.code == 0
    assert left(terminal) == ["net.py", "sentiment.ckpt", "sentiment.h5"]
    network = pasted(seen.lines[-2:])["network"]
    golden = np.load(sources.GOLDEN.with_suffix(".npz"))
    found = network(ms.Tensor(golden["x"])).asnumpy()
    np.testing.assert_allclose(found, golden["y"], atol=1e-5)
    seen = terminal.type("ckptconv keras2ms sentiment.h5 --allow hard_sigmoid -o other.ckpt")
    cell = eval(seen.fits().copied("nn.")[0].partition("  # ")[0], {"nn": nn})
    cell.update_parameters_name("lstm_a.")
    pasted(seen.lines[-3:], network=cell)
    found = cell(ms.Tensor(golden["x"]))[0].asnumpy()
    assert np.abs(found - golden["y"]).max() > 1e-3  # as the note says
    seen.whole("outputs differ")


def test_a_gan_of_several_parts(terminal: Terminal) -> None:
    parts = sources.gan(terminal.folder / "gan.pt")
    seen = terminal.type("ckptconv torch2ms gan.pt").fits()
    assert seen.code == 1
    assert left(terminal) == ["gan.pt"]
    seen.whole("--select generator", "--select '*'")
    told = terminal.type("ckptconv inspect gan.pt").fits().copied("--select")
    for line in told:
        option = line.partition(":")[0]
        target = f"part{len(left(terminal))}.ckpt"
        seen = terminal.type(f"ckptconv torch2ms gan.pt {option} -o {target}").fits()
        assert seen.code == 0, seen.text
        loaded = ms.load_checkpoint(str(terminal.folder / target))
        name = option.split()[1].strip("'")
        wanted = (
            {f"{n}.{k}": v for n, p in parts.items() for k, v in p.state_dict().items()}
            if name == "*"
            else parts[name].state_dict()
        )
        assert loaded.keys() == wanted.keys()
        for key, value in wanted.items():
            np.testing.assert_array_equal(loaded[key].asnumpy(), value.numpy())
    assert len(told) == 3


def test_two_hundred_files_and_ctrl_c(terminal: Terminal) -> None:
    broken, unclear = sources.many(terminal.folder / "in", 200)
    out, line = terminal.folder / "out", "ckptconv batch in out --to ms --jobs 2"
    seen = terminal.type(line, lambda text: "/200" in text and len(list(out.glob("*.ckpt"))) > 9)
    assert seen.code == 130
    count = int(re.search(r"stopped: (\d+) of 200 done; the same command goes on", seen.text)[1])
    files = {path.name for path in out.iterdir()}
    done = {name for name in files if name.endswith(".ckpt")}
    assert files == done | {f"{name}.report.json" for name in done}
    assert 9 < len(done) < 200
    assert 0 < count < 200  # a result may be on its way when the batch is stopped
    seen = terminal.type(line)
    assert seen.code == 1
    counts = re.search(r"(\d+) converted, (\d+) unchanged, (\d+) failed", seen.text)
    assert counts, seen.text
    converted, unchanged, failed = map(int, counts.groups())
    assert failed == broken + 1
    in_hand = 2 * 4  # of two workers' shares, which may be stopped before they say done
    assert len(done) - in_hand <= unchanged <= len(done)
    assert converted + unchanged + failed == 200
    assert len([x for x in seen.lines if x.startswith("failed: in/m")]) == failed
    told = next(x for x in seen.lines if unclear in x)
    assert told.count(unclear) == 1
    answer = told.partition("; try ")[2]
    seen = terminal.type(f"ckptconv torch2ms in/{unclear} {answer} -o out/m011.ckpt -q")
    assert (seen.code, seen.text) == (0, "")
    results = sorted(out.glob("*.ckpt"))
    assert len(results) == 200 - broken
    same = results[0].read_bytes()
    assert sum(path.read_bytes() == same for path in results) == 200 - broken - 1
    loaded = ms.load_checkpoint(str(results[0]))
    state = torch.load(terminal.folder / "in/m000.pt", weights_only=True)
    np.testing.assert_array_equal(loaded["head.weight"].asnumpy(), state["head.weight"].numpy())


def test_a_full_disk(terminal: Terminal, tagger: Path) -> None:
    """A file system of its own where a user may mount one, else a limit on the size of files."""
    own = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    mounts = not subprocess.run(own, capture_output=True, check=False).returncode
    disk = "mkdir -p full; mount -t tmpfs -o size=32k none full"
    limit = "mkdir -p full; ulimit -f 32"
    for command in (
        "torch2ms tagger.pt -o full/tagger.ckpt",
        "torch2keras tagger.pt --kind norm=LayerNorm -o full/tagger.h5",
        "torch2keras tagger.pt --kind norm=LayerNorm -o full/tagger.weights.h5",
    ):
        target = command.rpartition(" ")[2]
        work = f"ckptconv {command}; code=$?; ls -A full; exit $code"
        within = f"unshare -rm bash -c '{disk}; {work}'" if mounts else f"{limit}; {work}"
        seen = terminal.type(within).fits()
        assert seen.code == 1
        assert f"ckptconv: {target}: cannot be written" in seen.text
        assert ("No space left on device" if mounts else "File too large") in seen.text
        assert target.removeprefix("full/") not in seen.lines
        assert "Traceback" not in seen.text
        assert ".part" not in seen.text
    seen = terminal.type("ckptconv torch2ms tagger.pt > /dev/full").fits()
    assert seen.code == 1
    assert seen.text == "ckptconv: standard output cannot be written: No space left on device"
    assert "head.weight" in ms.load_checkpoint(str(tagger.with_suffix(".ckpt")))


def test_a_pipe_that_is_closed(terminal: Terminal, tagger: Path) -> None:
    seen = terminal.type("ckptconv torch2ms tagger.pt | head -1")
    assert (seen.code, seen.lines) == (
        0,
        ["wrote tagger.ckpt (mindspore-ckpt, mindspore): 21 tensors, 43,796 bytes"],
    )
    assert "head.weight" in ms.load_checkpoint(str(tagger.with_suffix(".ckpt")))
    seen = terminal.type("ckptconv inspect tagger.pt | head -2")
    assert (seen.code, len(seen.lines)) == (0, 2)
    seen = terminal.type("ckptconv diff tagger.pt tagger.pt --json | true")
    assert (seen.code, seen.text) == (0, "")
    many = "mkdir in && cp tagger.pt in && ckptconv batch in out --to torch --kind norm=LayerNorm"
    seen = terminal.type(f"{many} | true")
    assert (seen.code, (terminal.folder / "out/tagger.pt").exists()) == (0, True), seen.text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_of_another_encoding(terminal: Terminal, tagger: Path, encoding: str) -> None:
    line = "ckptconv torch2ms tagger.pt && ckptconv inspect tagger.pt"
    seen = terminal.type(line, PYTHONIOENCODING=encoding)
    assert seen.code == 0
    text = seen.bytes.decode(encoding)
    assert "64x16" in text if encoding == "ascii" else "64×16" in text
    assert "weight ->" in text
    assert "\\u" not in text
    assert not [
        x
        for x in text.splitlines()
        if len(x) > terminal.columns and not x.startswith(("nn.", "left = ms."))
    ]
    assert "head.weight" in ms.load_checkpoint(str(tagger.with_suffix(".ckpt")))


def test_the_wrong_framework(terminal: Terminal, pasted) -> None:
    sources.sentiment(terminal.folder / "sentiment.h5")
    seen = terminal.type("ckptconv torch2ms sentiment.h5 -o 'my model.ckpt' --allow hard_sigmoid")
    assert seen.fits().code == 1
    assert left(terminal) == ["sentiment.h5"]
    seen = terminal.type(seen.tried("ckptconv")).fits()
    assert seen.code == 0, seen.text
    assert left(terminal) == ["my model.ckpt", "sentiment.h5"]
    cell = eval(seen.copied("nn.")[0].partition("  # ")[0], {"nn": nn})
    cell.update_parameters_name("lstm_a.")
    pasted(seen.lines[-3:], network=cell)
    seen = terminal.type("ckptconv ms2keras sentiment.h5").fits()
    assert seen.tried("ckptconv") == "ckptconv keras2ms sentiment.h5"


def test_several_modules_that_are_not_clear(terminal: Terminal) -> None:
    state = sources.ambiguous(terminal.folder / "mix.pt")
    seen = terminal.type("ckptconv torch2ms mix.pt").fits()
    assert seen.code == 1
    seen.whole("pieces", "mix.0", "mix.1", "scale")
    assert left(terminal) == ["mix.pt"]
    seen = terminal.type(f"ckptconv torch2ms mix.pt {seen.tried()}").fits()
    assert seen.code == 0, seen.text
    loaded = ms.load_checkpoint(str(terminal.folder / "mix.ckpt"))
    assert {value.asnumpy().tobytes() for value in loaded.values()} == {
        value.numpy().tobytes() for value in state.values()
    }
    assert len(loaded) == len(state)


def test_a_plan_for_a_target_network(terminal: Terminal) -> None:
    sources.ambiguous(terminal.folder / "mix.pt")
    names = ["a_rather_long_name_of_a_module.pieces.weight (6, 6)", "norms.scale.weight (6,)"]
    (terminal.folder / "network.txt").write_text("\n".join(names))
    seen = terminal.type("ckptconv match mix.pt network.txt -o map.toml").fits()
    assert seen.code == 0
    seen.whole("a_rather_long_name_of_a_module.pieces", "--map map.toml --like network.txt")
