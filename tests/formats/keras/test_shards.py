"""Weights of Keras in shards behind an index."""

from __future__ import annotations

import json
from functools import partial

import h5py
import pytest

from ckptconv import formats
from ckptconv.errors import ContainerError
from ckptconv.formats.keras import sharded as keras_sharded
from ckptconv.io.reader import File
from tests.formats.keras.h5_files import h5


def index(path, mapping):
    path.write_text(json.dumps({"metadata": {}, "weight_map": mapping}))
    return path


@pytest.mark.parametrize("name", ["../m.weights.h5", "/m.weights.h5", "a\\m.weights.h5", 3])
def test_shards_outside_the_folder(files, name):
    path = index(files / "x.weights.json", {"/layers/dense/vars": name})
    with pytest.raises(ContainerError, match="bare name"):
        keras_sharded.read(File(path))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.pop("/layers/dense/vars"), "each weight in the index"),
        (lambda m: m.update({"/layers/none/vars": ["s_00000.weights.h5"]}), "layers/none/vars"),
        (lambda m: m["/layers/dense/vars"].append("s_90000.weights.h5"), "cannot be opened"),
    ],
)
def test_shards_that_do_not_fit_their_index(files, change, expected):
    mapping = json.loads((files / "s.weights.json").read_text())["weight_map"]
    change(mapping)
    with pytest.raises(ContainerError, match=expected):
        formats.read(index(files / "y.weights.json", mapping))


def test_weight_in_two_shards(files):
    group = {"/layers/a/vars": ["p.weights.h5", "q.weights.h5"]}
    for name in ("p", "q"):
        h5(files / f"{name}.weights.h5", lambda f: f.create_dataset("layers/a/vars/0", data=[1.0]))
    with pytest.raises(ContainerError, match=r"layers/a/vars/0: .*expected one shard with it"):
        formats.read(index(files / "z.weights.json", group))


def test_weight_in_a_shard_that_the_index_does_not_name(tmp_path):
    """What Keras 3.10 writes where the shard ends within the last layer."""
    for name, leaf in (("p", "0"), ("q", "1")):
        build = partial(h5py.File.create_dataset, name=f"layers/dense/vars/{leaf}", data=[1.0])
        h5(tmp_path / f"{name}.weights.h5", build)
    path = index(tmp_path / "z.weights.json", {"/layers/dense/vars": "p.weights.h5"})
    assert list(formats.read(path).tensors) == ["layers/dense/vars/0"]
    document = json.loads(path.read_text()) | {"metadata": {"total_size": 16.0}}
    path.write_text(json.dumps(document))
    with pytest.raises(ContainerError, match=r"expected 16.0 bytes of weights.* found 8"):
        formats.read(path)
