"""Nothing of a file runs, whatever it is wrapped in."""

from __future__ import annotations

import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import ckptconv
from tests.formats.torch.files import LEGACY
from tests.formats.torch.test_legacy import Reference, tar_file
from tests.formats.torch.test_locate import spring

pytestmark = pytest.mark.filterwarnings("ignore")


KNOWN = {"": "Linear"}


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.mark}'",)


def injected(source: Path, path: Path, member: str, mark: Path) -> None:
    """Copy a zip file; the pickle in it calls os.system first and goes on as before."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(member):
                call = pickle.dumps(Evil(mark), 2)
                data = call[:-1] + b"0" + data[2:]
            new.writestr(name, data)


def evil_script(path: Path, mark: Path, _state: dict[str, Any]) -> None:
    plain = path.with_suffix(".plain")
    torch.jit.save(torch.jit.script(nn.Linear(3, 2)), plain)
    injected(plain, path, "data.pkl", mark)


def evil_export(path: Path, _mark: Path, state: dict[str, Any]) -> None:
    """Before 2.8 the weights were a torch.save file inside."""
    with zipfile.ZipFile(path, "w") as file:
        inner = path.with_suffix(".inner")
        torch.save(state, inner)
        file.write(inner, "serialized_state_dict.pt")
        file.writestr("version", "1")


def evil_shards(path: Path, _mark: Path, state: dict[str, Any]) -> None:
    torch.save(state, path.with_name("a.bin"))
    path.write_text(json.dumps({"weight_map": dict.fromkeys(["weight", "bias"], "a.bin")}))


def evil_tar(path: Path, mark: Path, _state: dict[str, Any]) -> None:
    storage = (7, torch.FloatStorage, np.ones(6, "f4"))
    value = {"evil": Evil(mark), "weight": Reference(1)}
    tar_file(path, [storage], [], [(1, 7, (2, 3), (3, 1), 0)], value)


def evil_bundle(path: Path, _mark: Path, state: dict[str, Any]) -> None:
    torch.save(state, path.with_name("m.th"))
    with tarfile.open(path, "w:gz") as file:
        file.add(path.with_name("m.th"), "m.th")


EVIL = {
    "m.pt": lambda path, _, state: torch.save(state, path),
    "legacy.pt": lambda path, _, state: torch.save(state, path, **LEGACY),
    "tar.pt": evil_tar,
    "script.pt": evil_script,
    "m.pt2": evil_export,
    "m.index.json": evil_shards,
    "m.tar.gz": evil_bundle,
}


@pytest.mark.parametrize("name", EVIL)
def test_nothing_of_a_file_runs(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, path = tmp_path / "ran", tmp_path / name
    state = {"evil": Evil(mark), "weight": torch.ones(2, 3), "bias": torch.ones(2)}
    EVIL[name](path, mark, state)
    if name == "m.pt":
        torch.load(path, weights_only=False)
        assert mark.exists(), "the trap itself works"
        mark.unlink()
    ckptconv.convert(path, tmp_path / "warm.ckpt", to="mindspore", kinds=KNOWN)  # imports
    spring(monkeypatch)
    report = ckptconv.convert(path, tmp_path / "m.ckpt", to="mindspore", kinds=KNOWN)
    assert "weight" in {entry.target for entry in report.tensors}
    assert not mark.exists()
