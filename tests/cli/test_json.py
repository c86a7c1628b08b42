"""What a command prints, and what it prints with --json, say the same."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ckptconv import cli
from tests import networks as n
from tests.cli.test_cli import validate

CONVERSIONS = [
    ("torch2ms", "tagger.pt", "-o", "a.ckpt"),
    ("torch2keras", "tagger.pt", "-o", "a.weights.h5", "--kind", "norm=LayerNorm"),
    ("torch2ms", "training.pt", "-o", "p.ckpt", "--fold-proj"),
    ("torch2ms", "whole.pt", "-o", "w.ckpt", "--dtype", "float16"),
    ("torch2ms", "tagger.pt", "-o", "b.ckpt", "--drop", "norm", "--rename", "lstm=rnn"),
    ("keras2torch", "a.weights.h5", "-o", "back.pt", "--kind", "norm=LayerNorm"),
]
COMMANDS = [
    *CONVERSIONS,
    ("inspect", "tagger.pt"),
    ("inspect", "training.pt"),
    ("inspect", "whole.pt"),
    ("inspect", "tagger.pt", "a.ckpt"),
    ("diff", "tagger.pt", "a.ckpt"),
    ("diff", "whole.pt", "w.ckpt"),
    ("diff", "tagger.pt", "b.ckpt"),
    ("verify", "tagger.pt", "a.ckpt"),
    ("verify", "whole.pt", "w.ckpt"),
    ("verify", "tagger.pt", "b.ckpt"),
    ("roundtrip", "tagger.pt", "--via", "ms"),
    ("golden", "tagger.pt", "-o", "v.npz"),
    ("replay", "a.ckpt", "v.npz", "--reference"),
    ("match", "tagger.pt", "target.txt"),
    ("batch", "many", "done", "--to", "ms", "--jobs", "1"),
    ("formats",),
]
TOLD = re.compile(
    r"notes|omitted|unknown|constructor|evidence|(?<!tensors\.)verdict|cause|missing|added|left_out|because"
    r"|why|status|error|about|choices|warning"
)
"""Fields whose words stand in the text, too."""


def words(text: str) -> set[str]:
    """Return the words of a text, names taken apart; figures are written in other ways."""
    return {word for word in re.findall(r"[A-Za-z_]\w*", text) if len(word) > 2}


WORDS = words("""
wrote would write tensors bytes from layer layers kind sizes operations none source target
the not note left out known kept import load_checkpoint load_param_into_net strict_load
built keras Model network load_weights True False scalar are same tensor max abs rel ulp
result because outputs final states weights computed without counterpart what vectors
recurrent takes all like and read gates converted unchanged failed json gate imports
modules shape dtype parameters found with name holds several models for one loads
load_state_dict torch nothing has names load weights_only added assert
""")
"""What makes tables and sentences of it."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            yield f"{path}.{key}", key
            yield from leaves(entry, f"{path}.{key}")
    elif isinstance(value, list):
        for entry in value:
            yield from leaves(entry, path)
    else:
        yield path, str(value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    folder = tmp_path_factory.mktemp("json")
    (folder / "many").mkdir()
    for name in ("tagger.pt", "many/tagger.pt"):
        shutil.copy(samples / "tagger.pt", folder / name)
    shutil.copy(samples / "tagger_network.txt", folder / "target.txt")
    projected, whole = n.torch_recurrent("LSTM", proj_size=2), nn.Sequential(
        nn.Linear(2, 3), nn.BatchNorm1d(3), nn.GRU(3, 4, 2, bidirectional=True, dropout=0.5)
    )  # fmt: skip
    n.fill(whole)
    trained = {"model": projected.state_dict(), "optimizer": {"step": torch.ones(1)}}
    torch.save(trained, folder / "training.pt")
    torch.save(whole, folder / "whole.pt")
    return folder


def printed(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    cli.app(list(command), standalone_mode=False)
    return capsys.readouterr().out


def test_text_and_document_say_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    differences = []
    for command in COMMANDS:
        again = [] if command[0] not in ("golden", *(c[0] for c in CONVERSIONS)) else ["--force"]
        text = printed(capsys, *command, *again)
        document = json.loads(twice := printed(capsys, *command, *again, "--json"))
        validate(document)
        assert next(iter(document)) == "schema", command
        assert printed(capsys, *command, *again, "--json") == twice, command
        held = {word for _, leaf in leaves(document) for word in words(leaf)}
        only_text = words(text) - held - WORDS - words(" ".join(command))
        told = " ".join(leaf for path, leaf in leaves(document) if TOLD.search(path))
        fields = {path.rpartition(".")[2] for path, _ in leaves(document)}
        only_document = words(told) - words(text) - fields
        differences += [(command, only_text, only_document)] * bool(only_text or only_document)
    assert "\n".join(map(str, differences)) == ""
