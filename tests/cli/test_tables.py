"""What is printed: in columns that fit, in whole words, with lines that can be copied and run."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv.cli.render import left_out, print_report
from ckptconv.cli.tables import print_error, print_table
from tests.cli.test_cli import run, tagger
from tests.conftest import ROOT

__all__ = ["tagger"]  # a fixture
HEADERS = ("layer", "result", "because")
ROWS = [("encoder", "ok", "every weight has the same value"), ("head", "FAILED", "rows 0 to 3")]


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize("columns", [200, 80, 40, 30, 20])
def test_tables_fit_and_break_no_word(capsys, monkeypatch, columns: int) -> None:
    terminal(monkeypatch, columns)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(HEADERS, ROWS, "what was found")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    words = [word for row in ROWS for cell in row for word in cell.split()]
    assert set(words) <= set(out.split())


def test_what_else_is_refused_wraps_and_commands_do_not(capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    error = ckptconv.CkptconvError("is refused", tensor="lstm_a", hint=f"--kind {'a' * 40}=LSTM")
    error.others = ("lstm_b: activation relu has no equal in a layer of the target",)
    print_error(error)
    first, advice, *more = capsys.readouterr().err.splitlines()
    assert (first, advice) == ("ckptconv: lstm_a: is refused", f"  try --kind {'a' * 40}=LSTM")
    assert [line.strip() for line in more] == [
        "and lstm_b: activation relu has no",
        "equal in a layer of the target",
    ]


RUNS = [
    ("encoder.layers.0.attention", "source in torch 2.13.0+cpu", "reference of source", "ok"),
    ("encoder.layers.0.attention", "target in mindspore 2.10.0", "reference of target", "ok"),
    ("head", "target in mindspore 2.10.0", "source in torch 2.13.0+cpu", "FAILED"),
]


def test_first_cells_stand_above_columns_that_do_not_fit_beside_them(capsys, monkeypatch) -> None:
    terminal(monkeypatch, 50)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(("layer", "computed", "against", "result"), RUNS, "outputs")
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == ["outputs", "layer", "  computed             against              result"]
    assert out[4] == RUNS[0][0]
    assert out.count(RUNS[0][0]) == 1  # for both of its rows
    assert out[5:7] == [
        "  source in torch      reference of         ok",
        "  2.13.0+cpu           source",
    ]
    assert max(map(len, out)) <= 50


def test_headings_wrap_with_their_columns(capsys, monkeypatch) -> None:
    terminal(monkeypatch, 38)
    print_table(("tensor", "max abs"), [("x" * 30, "0")])
    out = capsys.readouterr().out.splitlines()
    assert [line[33:] for line in out[:2]] == ["max", "abs"]
    assert max(map(len, out)) <= 38


def test_colour_on_terminals_alone_and_where_it_is_wanted(capsys, monkeypatch) -> None:
    print_table(HEADERS, ROWS)
    assert "\x1b" not in capsys.readouterr().out
    terminal(monkeypatch, 80)
    print_table(HEADERS, ROWS)
    out = capsys.readouterr().out
    assert "\x1b[32mok" in out
    assert "\x1b[1;31mFAILED" in out
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(HEADERS, ROWS)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
def test_a_conversion_in_a_terminal(tagger: Path, columns: int) -> None:
    main, other = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(columns)}
    command = [sys.executable, "-m", "ckptconv", "torch2ms", tagger.name]
    with subprocess.Popen(
        command, cwd=tagger.parent, stdout=other, stderr=other, env=environment
    ) as process:
        os.close(other)
        text = b""
        while part := _read(main):
            text += part
    assert process.returncode == 0
    lines = text.decode().replace("\r", "").splitlines()
    copied = [line for line in lines if line.startswith(("nn.", "left = "))]
    assert all(len(line) <= columns for line in lines if line not in copied)
    assert any("nn.LSTM(12, 16, num_layers=2" in line and "# lstm" in line for line in copied)
    assert any("embedding_table" in line for line in lines)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how Linux says that the other side is closed
        return b""


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(3, 2)


def _mindspore():
    from mindspore import nn

    class Cell(nn.Cell):
        def __init__(self):
            super().__init__()
            self.fc = nn.Dense(3, 2)

    return Cell()


def _keras():
    import keras

    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="fc")])


@pytest.mark.parametrize(
    ("to", "name", "make", "kernel"),
    [
        ("torch", "a.pt", Network, lambda net: net.fc.weight.detach().numpy()),
        ("torch", "a.safetensors", Network, lambda net: net.fc.weight.detach().numpy()),
        ("mindspore", "a.ckpt", _mindspore, lambda net: net.fc.weight.asnumpy()),
        ("mindspore", "a.safetensors", _mindspore, lambda net: net.fc.weight.asnumpy()),
        ("keras", "a.h5", _keras, lambda net: net.get_weights()[0].T),
        ("keras", "a.weights.h5", _keras, lambda net: net.get_weights()[0].T),
    ],
)
def test_the_lines_that_load_the_result_load_it(tmp_path, capsys, to, name, make, kernel) -> None:
    source = Network()
    torch.save(source.state_dict(), tmp_path / "source.pt")
    print_report(ckptconv.convert(tmp_path / "source.pt", tmp_path / name, to=to))
    lines = capsys.readouterr().out.rstrip().rpartition("\n\n")[2]
    network = make()
    exec(lines, {"network": network})
    np.testing.assert_array_equal(kernel(network), source.fc.weight.detach().numpy())
    if to == "mindspore":
        network.fc.bias.name = "fc.offset"
        with pytest.raises(AssertionError, match=r"\['fc.offset'\], \['fc.bias'\]"):
            exec(lines, {"network": network})


def test_many_of_the_same_are_one_line(tmp_path) -> None:
    state = {"model": Network().state_dict()} | {f"extra{i}": torch.ones(2) for i in range(14)}
    torch.save(state, tmp_path / "m.pt")
    out, _ = run("torch2ms", tmp_path / "m.pt", "--select", "model")
    assert len([line for line in out.splitlines() if line.startswith("left out")]) <= 2


def test_sizes_are_those_of_what_was_written(tmp_path) -> None:
    torch.save(
        {"lstm." + k: v for k, v in torch.nn.LSTM(2, 3).state_dict().items()}, tmp_path / "m.pt"
    )
    out, _ = run("torch2keras", tmp_path / "m.pt")
    first, second = out.splitlines()[:2]
    assert first.endswith("(hdf5, keras): 3 tensors, 288 bytes")  # of four, two are summed
    assert second.endswith("m.pt (torch-zip, torch)")
    torch.save({"one": torch.ones(2)}, tmp_path / "one.pt")
    assert (
        run("inspect", tmp_path / "one.pt")[0].splitlines()[1] == "1 tensor, 2 parameters, 8 bytes"
    )


def test_what_is_left_out_by_many_rules_is_cut_short() -> None:
    """An optimizer's state has a rule for each tensor, which filled screens."""
    omitted = {f"moment1.fc{i}.weight": f"training state: mirrors fc{i}.weight" for i in range(30)}
    (line,) = left_out({"step": "training state: a number"} | omitted)
    assert line.startswith("left out: training state: step (a number), moment1.fc0.weight (mirrors")
    assert line.endswith("(mirrors fc6.weight) and 23 more")


def test_a_proof_says_what_was_left_out_as_the_conversion_does(tmp_path) -> None:
    network, extra = Network(), {f"extra{i}": torch.ones(2) for i in range(14)}
    torch.save({"model": network.state_dict()} | extra, tmp_path / "m.pt")
    out, _ = run("torch2ms", tmp_path / "m.pt", "-o", tmp_path / "m.ckpt", "--select", "model")
    said = [line for line in out.splitlines() if line.startswith("left out")]
    files = (tmp_path / "m.pt", tmp_path / "m.ckpt", "--select", "model")
    for command in ("verify", "diff"):
        out, _ = run(command, *files)
        assert out.splitlines()[-len(said) :] == [f"{files[0]}: {line}" for line in said]
        document = json.loads(run(command, *files, "--json")[0])
        told = document["left_out" if command == "verify" else "notes"]
        assert sum("extra" in entry for entry in told) == 14
