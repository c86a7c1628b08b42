"""One shard of several, given alone: an index that names it is asked for, siblings are told of."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import pytest
import torch
from safetensors.torch import save_file

import ckptconv
from tests import networks as n

TORN = ["weight_ih_l0", "weight_hh_l0"]
"""What the first shard holds of an LSTM: alone it would be one without a bias."""


def shard_names(first: str, last: str, count: int = 2) -> list[str]:
    return [f"{first}-{i:05}-of-{count:05}{last}" for i in range(1, count + 1)]


def torn(folder: Path, names: list[str], index: str) -> Path:
    """Save an LSTM in two shards, and the index that names them; return the first."""
    state = n.torch_recurrent("LSTM").state_dict()
    places = {name: names[name not in TORN] for name in state}
    for file in names:
        part = {f"lstm.{key}": state[key] for key, place in places.items() if place == file}
        save = save_file if "safetensors" in file else torch.save
        save(part, folder / file)
    if index:
        told = {"metadata": {}, "weight_map": {f"lstm.{k}": v for k, v in places.items()}}
        (folder / index).write_text(json.dumps(told))
    return folder / names[0]


def keras_shards(folder: Path) -> Path:
    layers = [keras.Input((3, 200)), keras.layers.LSTM(200), keras.layers.Dense(99)]
    model = keras.Sequential(layers)
    model.save_weights(folder / "m.weights.json", max_shard_size=0.001)
    return folder / "m_00000.weights.h5"


PLACES: dict[str, Callable[[Path], Path]] = {
    "safetensors": lambda at: torn(
        at, shard_names("model", ".safetensors"), "model.safetensors.index.json"
    ),
    "torch": lambda at: torn(
        at, shard_names("pytorch_model", ".bin"), "pytorch_model.bin.index.json"
    ),
    "a variant": lambda at: torn(
        at, shard_names("model.fp16", ".safetensors"), "model.safetensors.index.fp16.json"
    ),
    "keras": keras_shards,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_shard_that_an_index_names_is_left_to_it(place, tmp_path):
    shard = PLACES[place](tmp_path)
    target = tmp_path / "out.ckpt"
    with pytest.raises(ckptconv.ContainerError, match="one shard of a checkpoint") as caught:
        ckptconv.convert(shard, target, to="mindspore")
    assert not target.exists()
    (advised,) = shlex.split(caught.value.hint)
    report = ckptconv.convert(advised, target, to="mindspore")
    assert not any("shard" in note for note in report.notes)
    lstm = next(layer for layer in report.layers if layer.kind == "LSTM")
    assert "has_bias=True" in lstm.constructor
    for read in (ckptconv.inspect, ckptconv.load):
        with pytest.raises(ckptconv.ContainerError, match="one shard of a checkpoint"):
            read(shard)
    alone = shutil.copy(shard, tmp_path / "alone.weights.h5")  # under a name that nothing lists
    assert ckptconv.inspect(alone)


@pytest.mark.parametrize("index", ["", "model.safetensors.index.json"])
def test_siblings_without_an_index_that_names_them_are_told(index, tmp_path):
    shard = torn(tmp_path, shard_names("model", ".safetensors"), "")
    if index:
        (tmp_path / index).write_text('{"weight_map": ["no table"]}')
    report = ckptconv.convert(shard, tmp_path / "out.ckpt", to="mindspore")
    (note,) = (note for note in report.notes if "shards" in note)
    assert note.startswith("by its name one of 2 shards, as 'model-00002-of-00002.safetensors'")


def test_a_name_alone_is_no_shard(tmp_path):
    shard = torn(tmp_path, shard_names("model", ".safetensors"), "")
    (tmp_path / "model-00002-of-00002.safetensors").rename(tmp_path / "other-00002-of-00002.pt")
    report = ckptconv.convert(shard, tmp_path / "out.ckpt", to="mindspore")
    assert not report.notes
