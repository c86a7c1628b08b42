"""A folder that is given for a file: the message says what it is, and what it advises is taken."""

from __future__ import annotations

import io
import json
import os
import pickle
import shlex
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file

import ckptconv
from ckptconv.formats import folders
from tests.conftest import ROOT

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(3, 2) + 0.5, "fc.bias": torch.arange(3.0) - 7}


def archive_of_arrays() -> bytes:
    file = io.BytesIO()
    np.savez(file, **{name: value.numpy() for name, value in WEIGHTS.items()})
    return file.getvalue()


def torch_file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(WEIGHTS, path)
    return path


def hugging_face(folder: Path) -> str:
    (folder / "config.json").write_text('{"architectures": ["BertModel"]}')
    torch_file(folder / "optimizer.pt")
    torch_file(folder / "pytorch_model.bin")
    save_file(WEIGHTS, folder / "model.safetensors")
    return "Hugging Face's"


def sharded(folder: Path) -> str:
    (folder / "config.json").write_text("{}")
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for file, (name, value) in zip(names, WEIGHTS.items(), strict=True):
        save_file({name: value}, folder / file)
    index = {"metadata": {}, "weight_map": dict(zip(WEIGHTS, names, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return "Hugging Face's"


def cached(folder: Path) -> str:
    """As a cache of Hugging Face's: files without suffixes, and links to them."""
    blob = torch_file(folder / "blobs" / "d41d8cd98f00")
    link = folder / "snapshots" / "abc" / "pytorch_model.bin"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    return "a folder: 'blobs', 'snapshots'"


def without_suffixes(folder: Path) -> str:
    (folder / "notes").write_text("a file of text")
    torch_file(folder / "weights")
    return "a folder: 'notes', 'weights'"


def distributed(folder: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(WEIGHTS, checkpoint_id=folder, no_dist=True)
    return "a distributed checkpoint of torch"


def unpacked_torch(folder: Path) -> str:
    zipfile.ZipFile(torch_file(folder.parent / "x.pt")).extractall(folder.parent / "all")
    folder.rmdir()
    (folder.parent / "all" / "x").rename(folder)
    return "torch.save"


def unpacked_keras(folder: Path) -> str:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="fc")])
    model.save(folder.parent / "x.keras")
    zipfile.ZipFile(folder.parent / "x.keras").extractall(folder)
    return "Keras"


def ranks(folder: Path) -> str:
    for rank in (0, 1):
        for epoch in (2, 10):
            path = folder / f"rank_{rank}" / f"net-{epoch}_5.ckpt"
            path.parent.mkdir(exist_ok=True)
            ckptconv.convert(torch_file(folder.parent / "x.pt"), path, to="mindspore")
    return "MindSpore's ranks"


def mlflow(folder: Path) -> str:
    (folder / "MLmodel").write_text("flavors: {}")
    torch_file(folder / "data" / "model.pth")
    return "MLflow"


def espnet(folder: Path) -> str:
    (folder / "config.yaml").write_text("encoder: rnn")
    for name in ("1epoch", "2epoch", "valid.acc.ave_2best", "checkpoint"):
        torch_file(folder / f"{name}.pth")
    (folder / "latest.pth").symlink_to(folder / "2epoch.pth")
    return "ESPnet"


@pytest.mark.parametrize(
    ("make", "given"),
    [
        (hugging_face, ["model.safetensors", "pytorch_model.bin"]),
        (sharded, ["model.safetensors.index.json"]),
        (cached, ["snapshots/abc/pytorch_model.bin"]),
        (without_suffixes, ["weights"]),
        (distributed, []),
        (unpacked_torch, []),
        (unpacked_keras, ["model.weights.h5"]),
        (ranks, [f"rank_{n}/net-{epoch}_5.ckpt" for epoch, n in ((10, 0), (10, 1), (2, 0))]),
        (mlflow, ["data/model.pth"]),
        (espnet, ["valid.acc.ave_2best.pth", "latest.pth", "2epoch.pth"]),
    ],
)
def test_a_folder_is_known_and_its_file_named(
    tmp_path: Path, make: Callable[[Path], str], given: list[str]
) -> None:
    folder = tmp_path / "a model"
    folder.mkdir()
    what = make(folder)
    with pytest.raises(ckptconv.CkptconvError) as caught:
        ckptconv.load(folder)
    assert what in str(caught.value.found)
    advice = caught.value.hint
    assert advice is not None
    if not given:
        words = [sys.executable, *shlex.split(advice)[1:]]
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
        found, options = str(tmp_path / "model.pt"), []
    else:
        said = [shlex.split(text) for text in advice.split(" or ")]
        assert [words[0] for words in said] == [os.path.join(folder, name) for name in given]
        (found, *options), *_ = said
    more: Any = dict(option.split("=") for option in options)
    tensors = ckptconv.to_state_dict(ckptconv.load(found, **more), "torch")
    assert tensors["fc.weight"].shape == (3, 2)


@pytest.mark.parametrize(
    ("names", "way"),
    [
        (["zero_to_fp32.py", "latest"], "python {}/zero_to_fp32.py {} merged"),
        (["saved_model.pb"], "tf_keras.models.load_model('{}').save('model.h5')"),
        (["x.index", "x.data-00000-of-00001"], "model.load_weights"),
    ],
)
def test_what_cannot_be_read_says_who_can(tmp_path: Path, names: list[str], way: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"-")
    assert str(folders.refusal(tmp_path).hint).startswith(way.format(tmp_path, tmp_path))


@pytest.mark.parametrize(
    ("content", "what", "way"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS", "lfs pull"),
        (b"\n<!DOCTYPE html><html><body>401", "a page", "downloading"),
        (b"GGUF\3\0\0\0", "GGUF", "made of"),
        (b"\x93NUMPY\1\0v\0{'descr': '<f4'}", "an array", "safetensors"),
        (pickle.dumps({"w": np.ones(3)}, 2), "a plain pickle", r"torch\.save"),
        (pickle.dumps({"w": np.ones(3)}, 5), "a plain pickle", r"torch\.save"),
        (archive_of_arrays(), "PK", "safetensors file of its arrays"),
    ],
)
def test_what_often_stands_for_a_checkpoint_is_known(
    tmp_path: Path, content: bytes, what: str, way: str
) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ckptconv.ContainerError, match=f"not a checkpoint.*found .*{what}.*{way}"):
        ckptconv.load(tmp_path / "model.safetensors")
    assert str(folders.refusal(tmp_path).hint).endswith("model.safetensors")


def test_a_folder_of_many_files_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(40):
        (tmp_path / f"{n}.pt").write_bytes(b"no checkpoint")
    opened = list[str]()
    monkeypatch.setattr(folders, "_MOST_OPENED", 5)
    monkeypatch.setattr(folders, "File", lambda path: opened.append(path) or folders.File)
    monkeypatch.setattr(folders.formats, "recognise", lambda _: None)
    folders.refusal(tmp_path)
    assert len(opened) == 5


def test_every_command_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = torch_file(folder / "model.bin")
    shutil.copy(file, tmp_path / "x.pt")
    known = f"a folder: 'model.bin'; try {folder}/model.bin"
    x = tmp_path / "x.pt"
    calls = [
        (["torch2ms", folder], known),
        (["inspect", folder], known),
        (["verify", folder, x], known),
        (["verify", x, folder], known),
        (["diff", x, folder], known),
        (["match", x, folder], known),
        (["torch2ms", x, "--like", folder], known),
        (["golden", folder, "-o", tmp_path / "v.npz"], known),
        (["roundtrip", folder, "--via", "ms"], known),
        (["torch2ms", x, "-o", folder], f"{folder}: is a folder: expected a name that ends in "
         f".ckpt or .safetensors; try {folder}/model.ckpt"),
    ]  # fmt: skip
    for words, said in calls:
        done = subprocess.run(
            [sys.executable, "-m", "ckptconv", *map(str, words)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert said in done.stderr, words
