"""Options that have no effect, that contradict each other, or that say nothing are not ignored."""

import inspect

import pytest
import torch
import typer
from torch import nn
from typer.main import get_command
from typer.testing import CliRunner

import ckptconv
from ckptconv.cli import app
from tests import networks as n
from tests.cli.test_cli import run


def typed_options():
    """Yield (command, option) of every option that takes one text."""
    for command in app.registered_commands:
        for parameter in inspect.signature(command.callback).parameters.values():
            (declared,) = parameter.annotation.__metadata__
            if parameter.annotation.__origin__ in (str, str | None) and isinstance(
                declared, typer.models.OptionInfo
            ):
                typed = (declared.default, *declared.param_decls)
                yield command.name, next(name for name in typed if name.startswith("--"))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    torch.save(n.fill(nn.Sequential(nn.Linear(3, 4))).state_dict(), folder / "m.pt")
    torch.save(n.fill(nn.Sequential(nn.LSTM(3, 4))).state_dict(), folder / "r.pt")
    for name in ("m", "r"):
        ckptconv.convert(folder / f"{name}.pt", folder / f"{name}.ckpt", to="mindspore")
    ckptconv.golden(folder / "r.pt", folder / "v.npz")
    return folder


def test_an_option_that_is_given_nothing_is_wrong_usage():
    needed = {"batch": ["--to", "ms"], "golden": ["-o", "x.npz"], "roundtrip": ["--via", "ms"]}
    asked = [*typed_options()]
    assert len(asked) > 100
    for command, option in asked:
        alone = "2" in command or command in ("golden", "inspect", "roundtrip")
        words = [
            *(["unread.pt"] if alone else ["unread.pt", "other.ckpt"]),
            *needed.get(command, ()),
        ]
        ended = CliRunner().invoke(app, [command, *words, option, ""])
        assert ended.exit_code == 2, (command, option)
        assert f"{option}: expected" in ended.stderr


def test_an_option_of_one_value_is_given_once():
    asked = [
        (name, option)
        for name, command in get_command(app).commands.items()
        for option in command.params
        if option.param_type_name == "option" and not option.is_flag
    ]
    assert len(asked) > 150
    assert any(option.multiple for _, option in asked)
    for command, option in asked:
        value = "1" if option.name == "forget_bias" else "a=b"
        words = [word for name in (option.opts * 2)[:2] for word in (name, value)]
        ended = CliRunner().invoke(app, [command, "unread.pt", *words])
        told = f"{option.opts[-1]}: expected one value, found 2" in ended.stderr
        assert told != option.multiple, (command, words)


def test_flags_and_lists_are_given_again():
    words = ["unread.pt", "-q", "--quiet", "--kind", "a=Linear", "--kind", "b=Linear"]
    ended = CliRunner().invoke(app, ["torch2ms", *words])
    assert isinstance(ended.exception, ckptconv.ContainerError)


WRONG = {
    "all is dropped": (
        ["torch2ms", "m.pt", "--drop", "0", "-o", "x.ckpt"],
        1,
        "--drop leaves nothing: found 0",
    ),
    "two targets": (
        ["match", "m.pt", "m.ckpt", "--mint", "--to", "torch"],
        2,
        "expected one of them",
    ),
    "a file for a folder": (["batch", ".", "m.pt", "--to", "ms"], 1, "m.pt: not a folder"),
    "no run": (
        ["verify", "m.pt", "m.ckpt", "--device", "GPU"],
        2,
        "nothing runs there: expected --run",
    ),
    "reference": (
        ["replay", "r.ckpt", "v.npz", "--reference", "--device", "Ascend"],
        2,
        "expected no --reference",
    ),
    "layout": (
        ["torch2ms", "r.pt", "--layout", "gpu", "-o", "x.ckpt"],
        1,
        "--layout gpu: the file has no LSTM of MindSpore",
    ),
    "verify": (
        ["verify", "m.pt", "m.ckpt", "--allow", "dequantize"],
        1,
        "--allow dequantize: nothing",
    ),
    "its target": (
        ["verify", "m.pt", "m.ckpt", "--target-allow", "relu"],
        1,
        "--target-allow relu: nothing",
    ),
    "diff": (["diff", "m.pt", "m.ckpt", "--allow", "dequantize"], 1, "--allow dequantize: nothing"),
    "tolerance": (
        ["verify", "m.pt", "m.ckpt", "--tolerance", "-1"],
        2,
        "--tolerance -1.0: expected a number",
    ),
    "root": (
        ["torch2ms", "m.pt", "--split", "", "-o", "x.ckpt"],
        1,
        "m.pt: (root): no recurrent layer",
    ),
}


@pytest.mark.parametrize(("words", "code", "said"), WRONG.values(), ids=WRONG)
def test_what_has_no_effect_or_no_meaning_is_said(files, words, code, said):
    assert said in run(*words, cwd=files, code=code)[1]
    assert not (files / "x.ckpt").exists()


@pytest.mark.parametrize(
    ("proj", "to", "said"),
    [
        (2, "torch", ["fold_proj: nothing was folded, since PyTorch has proj_size"]),
        (
            0,
            "mindspore",
            ["fold_proj: nothing was folded, since no LSTM of the source has proj_size"],
        ),
        (2, "mindspore", []),
    ],
)
def test_a_projection_that_is_not_folded_is_told(tmp_path, proj, to, said):
    graph = ckptconv.from_torch(n.fill(nn.LSTM(3, 4, proj_size=proj)))
    name = {"torch": "m.pt", "mindspore": "m.ckpt"}[to]
    report = ckptconv.save(graph, tmp_path / name, to=to, fold_proj=True)
    assert [note for note in report.notes if note.startswith("fold_proj")] == said
