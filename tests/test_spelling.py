"""What messages advise is taken as it stands: by the function that was called, in Python, and by
the command that was typed."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ckptconv
from ckptconv import CkptconvError, cli
from ckptconv.batch import ConvertKeywords
from ckptconv.cli.spelling import CALLED
from ckptconv.verification.sides import ReadKeywords, SidesKeywords
from tests.conftest import ROOT

KEYWORDS: dict[str, Any] = {
    **dict.fromkeys(("verify", "diff"), SidesKeywords),
    **dict.fromkeys(("golden", "replay", "roundtrip"), ReadKeywords),
    "convert_many": ConvertKeywords,
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    plain, other = ({"fc.weight": torch.rand(3, 2), "fc.bias": torch.rand(3)} for _ in range(2))
    torch.save(plain, "plain.pt")
    torch.save({"encoder": plain, "decoder": other}, "two.pt")
    torch.save({"x.weight": torch.rand(5, 3)}, "matrix.pt")
    torch.save({"fc.weight": torch.rand(3, 2), "x.weight": torch.rand(5, 3)}, "both.pt")
    torch.save(torch.nn.LSTM(2, 5, proj_size=3).state_dict(), "proj.pt")
    torch.save({f"p.{k}": v for k, v in torch.nn.GRU(2, 3).state_dict().items()}, "gru.pt")
    Path("there.pt").write_bytes(b"")
    Path("there.ckpt").write_bytes(b"")
    Path("list.txt").write_text("a.weight (3, 2)\na.bias (3,)\nb.weight (5, 3)\n")
    ckptconv.convert("plain.pt", "plain.ckpt", to="mindspore")


def graph(path: str) -> ckptconv.Graph:
    return ckptconv.load(path)


CALLS: list[tuple[str, Callable[[], tuple[Any, ...]], dict[str, Any], list[str]]] = [
    # function, arguments, options, what its message advises
    ("inspect", lambda: ("two.pt",), {}, ["select"]),
    ("load", lambda: ("two.pt",), {}, ["select"]),
    ("convert", lambda: ("two.pt", "x.ckpt"), {"to": "mindspore"}, ["select"]),
    ("convert", lambda: ("plain.pt", "there.ckpt"), {"to": "mindspore"}, ["force"]),
    ("convert", lambda: ("matrix.pt", "x.h5"), {"to": "keras"}, ["kinds"]),
    ("convert", lambda: ("proj.pt", "x.ckpt"), {"to": "mindspore"}, ["fold_proj"]),
    ("convert", lambda: ("plain.pt", "x.pt"), {"to": "torch", "fill": {"a": "ones"}}, ["like"]),
    ("save", lambda: (graph("plain.pt"), "there.pt"), {"to": "torch"}, ["force"]),
    ("save", lambda: (graph("proj.pt"), "x.ckpt"), {"to": "mindspore"}, ["fold_proj"]),
    ("save", lambda: (graph("matrix.pt"), "x.h5"), {"to": "keras"}, ["convert kinds"]),
    ("to_state_dict", lambda: (graph("proj.pt"), "mindspore"), {}, ["convert fold_proj"]),
    ("match", lambda: ("two.pt", "list.txt"), {}, ["select"]),
    ("verify", lambda: ("two.pt", "plain.ckpt"), {}, ["select"]),
    ("verify", lambda: ("plain.ckpt", "two.pt"), {}, ["target_select"]),
    ("diff", lambda: ("plain.pt", "two.pt"), {}, ["target_select"]),
    ("roundtrip", lambda: ("two.pt",), {"via": "mindspore"}, ["select"]),
    ("roundtrip", lambda: ("proj.pt",), {"via": "mindspore"}, ["convert fold_proj"]),
    ("golden", lambda: ("gru.pt", "there.pt"), {}, ["force"]),
    ("verify", lambda: ("plain.pt", "plain.pt"), {"network": "net.py"}, ["run"]),
]


def advised(message: str) -> list[str]:
    """Return the arguments that a message names with a value, those of ``convert`` as such."""
    text = message.partition("; try ")[2] or message.partition("expected ")[2]
    names = re.findall(r"(convert\(…, )?\b([a-z_]+)=(?=[\[{'T\d])", text)
    return list(dict.fromkeys(" ".join(["convert"] * bool(of) + [name]) for of, name in names))


@pytest.mark.parametrize(("name", "given", "options", "expected"), CALLS)
def test_a_function_advises_what_it_takes(name, given, options, expected):
    function = getattr(ckptconv, name)
    with pytest.raises(CkptconvError) as caught:
        function(*given(), **options)
    assert "--" not in str(caught.value)
    assert advised(str(caught.value)) == expected
    taken = {*inspect.signature(function).parameters}
    taken |= KEYWORDS[name].__optional_keys__ if name in KEYWORDS else set()
    others = {*inspect.signature(ckptconv.convert).parameters}
    for told in expected:
        assert told in taken or told.removeprefix("convert ") in others - taken


def test_what_a_function_advises_is_taken():
    wanted = [row for row in CALLS if not row[3][0].startswith("convert")]
    wanted = [row for row in wanted if row[3][0] not in ("like", "run")]  # these need a file
    for name, given, options, _ in wanted:
        function = getattr(ckptconv, name)
        with pytest.raises(CkptconvError) as caught:
            function(*given(), **options)
        told = str(caught.value).partition("; try ")[2]
        told = re.split(r" or |, or |; ", told)[0]
        function(*given(), **options, **eval(f"dict({told})"))
        for made in Path().glob("x.*"):
            made.unlink()


def typed(*words: str) -> str:
    """Run a command in this process; return why it is refused."""
    try:
        cli.app(list(words), standalone_mode=False)
    except CkptconvError as error:
        return str(error)
    return ""


COMMANDS = [
    ("torch2ms", "two.pt"),
    ("torch2ms", "plain.pt", "-o", "there.ckpt"),
    ("torch2keras", "matrix.pt"),
    ("torch2keras", "both.pt"),
    ("torch2ms", "proj.pt", "-o", "x.ckpt"),
    ("verify", "plain.ckpt", "two.pt"),
    ("diff", "plain.pt", "two.pt"),
    ("verify", "two.pt", "plain.ckpt"),
    ("roundtrip", "two.pt", "--via", "ms"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_what_a_command_advises_is_taken_as_it_stands(command):
    option = re.split(r" or |; ", typed(*command).partition("; try ")[2])[0]
    assert option.startswith("--")
    assert typed(*command, *shlex.split(option)) == ""


def test_a_command_names_the_command_that_takes_an_option():
    error = typed("roundtrip", "proj.pt", "--via", "ms")
    assert "try 'ckptconv convert … --fold-proj'; it" in error
    assert typed("convert", "proj.pt", "x.ckpt", "--fold-proj") == ""


def test_every_option_that_messages_name_can_be_typed():
    """What no command takes is a slip of the pen; so is a name that the API does not have."""
    source = "".join(path.read_text() for path in (ROOT / "ckptconv").rglob("*.py"))
    named = set(re.findall(r"""\boption\(\s*["'](\w+)["']""", source))
    assert {"kinds", "force", "run", "reference_only"} <= named
    functions = [getattr(ckptconv, name) for name in ckptconv.__all__ if name[0].islower()]
    assert named <= {name for f in functions for name in inspect.signature(f).parameters}
    commands = [command.callback for command in cli.app.registered_commands]
    typed = {name for command in commands for name in inspect.signature(command).parameters}
    assert {CALLED.get(name, name) for name in named} <= typed


def test_a_second_file_has_options_of_its_own():
    error = typed("diff", "plain.pt", "two.pt")
    assert "try --target-select encoder or --target-select '*'" in error
    error = typed("diff", "two.pt", "plain.pt")
    assert "try --select encoder or --select '*'" in error


def test_evidence_and_rules_are_one_for_all():
    """What a report records is no advice: it is the same whoever asked."""
    options = {"kinds": {"x": "Linear"}, "drop": ["fc"], "force": True}
    report = ckptconv.convert("both.pt", "x.ckpt", to="mindspore", **options).to_dict()
    words = ["--kind", "x=Linear", "--drop", "fc", "--force", "--report", "x.json", "-q"]
    assert typed("torch2ms", "both.pt", "-o", "x.ckpt", *words) == ""
    other = json.loads(Path("x.json").read_text())
    assert other == report
    assert other["layers"][0]["evidence"] == "the user's word"
    assert other["omitted"] == {"fc.weight": "dropped as fc"}


def test_a_message_is_spelled_for_python_again_after_a_command():
    assert "--select encoder" in typed("torch2ms", "two.pt")
    with pytest.raises(CkptconvError, match="select='encoder'"):
        ckptconv.load("two.pt")


def test_numbers_in_paths_become_a_pattern_where_all_are_of_one_kind():
    tensors = {f"block.{i}.x.weight": np.full((5, 3), i + 1.0, "f4") for i in range(3)}
    with pytest.raises(ckptconv.AmbiguousKindError) as caught:
        ckptconv.to_state_dict(ckptconv.from_state_dict(tensors, "torch"), "keras")
    assert "kinds={'block.*.x': '" in str(caught.value)
