"""What real frameworks and odd hands write: every tensor has one name, or the file is refused."""

from __future__ import annotations

import gzip
import json
import math
import os
import pickle
import struct
import tarfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch
from torch import nn

from ckptconv import api, formats
from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.protobuf import encode, field_of
from ckptconv.errors import ContainerError
from ckptconv.formats import shapes
from ckptconv.tensors.tensor import ArrayTensor

ONE, TWO = torch.arange(12.0).reshape(3, 4) + 0.5, torch.arange(12.0).reshape(3, 4) - 7


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


def tared(path: Path, **content: Path) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as file:
        for name, source in content.items():
            file.add(source, name.replace("__", "."))
    return path


def refuse(problem: str, path: Path | str, **options: Any) -> None:
    with pytest.raises(ContainerError, match=problem):
        formats.read(path, **options)


@pytest.mark.parametrize("order", [1, -1])
def test_a_packed_tensor_takes_no_others_name(tmp_path: Path, order: int) -> None:
    value = dict([("a.0", ONE), ("a", (TWO, ONE)), ("w", ONE)][::order])
    refuse("a.0: two tensors of one name", saved(tmp_path / "x.pt", value))


def test_tensors_in_tuples_are_all_named_or_left_out(tmp_path: Path) -> None:
    many = tuple(ONE + i for i in range(100))
    deep: Any = (ONE,)
    for i in range(12):
        deep = (deep, TWO + i)
    checkpoint = formats.read(
        saved(
            tmp_path / "x.pt",
            {"w": TWO, "many": many, "deep": deep, "mixed": (-ONE, {"x": torch.tensor(3)})},
        )
    )
    assert list(checkpoint.tensors) == ["w", *(f"many.{i}" for i in range(100))]
    assert (checkpoint.tensors["many.99"].numpy() == many[99].numpy()).all()
    assert checkpoint.omitted == {
        "deep": "not a tensor: tuple with 13 tensors",
        "mixed": "not a tensor: tuple with 2 tensors",
    }


@pytest.mark.parametrize("texts", [["a", "bc"], [b"a", b"bc"], [{}, None], ["2020-01-01"]])
@pytest.mark.parametrize("weight", [ONE, torch.tensor([1, 2])])
def test_arrays_of_texts_are_no_tensors(
    tmp_path: Path, texts: list[Any], weight: torch.Tensor
) -> None:
    kind = "M8[D]" if texts == ["2020-01-01"] else None
    words = np.array(texts, kind)
    checkpoint = formats.read(
        saved(tmp_path / "x.pt", {"words": words, "in": {"words": words}, "w": weight})
    )
    assert list(checkpoint.tensors) == ["w"]
    assert set(checkpoint.omitted) == {"words", "in"}


def test_arrays_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for wrong in (np.ones(3, np.longdouble), np.zeros(3, [("a", "f4")])):
        path = saved(tmp_path / "x.pt", {"wrong": wrong, "n": torch.tensor([1, 2])})
        refuse(r"wrong: a damaged tensor: an array of", path)


class Called:
    """What pickles as a call of ``function``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.called = function, args

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize("axis", [(), (9,)])
def test_a_quantizer_without_its_axis(tmp_path: Path, axis: tuple[int, ...]) -> None:
    whole = torch.quantize_per_channel(ONE, torch.ones(3), torch.zeros(3).long(), 0, torch.qint8)
    quantizer = (torch.per_channel_affine, torch.ones(3), torch.zeros(3), *axis)
    storage = whole.int_repr()._typed_storage()
    view = (storage, 0, (3, 4), (4, 1), quantizer, False, OrderedDict())
    value = {"w": Called(torch._utils._rebuild_qtensor, *view), "v": ONE}
    refuse("w: a damaged tensor", saved(tmp_path / "x.pt", value))


@pytest.mark.parametrize("version", [-1, -(1 << 40), 1 << 62, 10**30])
def test_versions_of_modules(tmp_path: Path, version: int) -> None:
    state = OrderedDict({"fc.weight": ONE, "fc.bias": ONE[:, 0]})
    state._metadata = {"": {"version": 1}, "fc": {"version": version}}  # type: ignore[attr-defined]
    api.convert(saved(tmp_path / "x.pt", state), tmp_path / "y.pt", to="torch")
    told = torch.load(tmp_path / "y.pt")._metadata
    assert told.get("fc", {}).get("version") == (version if version < 1 << 63 else None)


@pytest.mark.parametrize("name", ["float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"])
def test_narrow_floats_of_safetensors(tmp_path: Path, name: str) -> None:
    values = torch.arange(1, 9, dtype=torch.uint8).view(getattr(torch, name))
    save_torch({"narrow": values, "w": ONE}, tmp_path / "x.safetensors")
    checkpoint = formats.read(tmp_path / "x.safetensors")
    assert checkpoint.tensors["narrow"].dtype.name == name
    formats.write(checkpoint, tmp_path / "y.safetensors", check=True)
    found = load_torch(tmp_path / "y.safetensors")["narrow"]
    assert found.dtype == values.dtype
    assert found.view(torch.uint8).equal(values.view(torch.uint8))


def headed(path: Path, entry: object) -> Path:
    text = json.dumps({"a": entry}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


def test_headers_of_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    huge = {"dtype": "F32", "shape": [1 << 62] * 100_000, "data_offsets": [0, 0]}
    refuse("a: truncated or damaged: expected dtype, shape", headed(path, huge))
    packed = {"dtype": "F4", "shape": [0], "data_offsets": [0, 0]}
    refuse("a: a dtype that cannot be read: expected I8, .*, found F4", headed(path, packed))
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    refuse("a: truncated or damaged: expected dtype, shape", headed(path, deep))


def test_names_that_a_format_has_for_itself(tmp_path: Path) -> None:
    for name, format_, problem in (
        ("__metadata__", "safetensors", "has for itself"),
        ("", "mindspore-ckpt", "expected a name, of at most 1024"),
    ):
        checkpoint = Checkpoint(format_, {name: ArrayTensor(np.ones(2, "f4"))})
        with pytest.raises(ContainerError, match=problem):
            formats.write(checkpoint, tmp_path / "x")


@pytest.mark.parametrize("name", ["a\0b", "a//b", "/a", "a/"])
def test_names_that_hdf5_makes_others_of(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "x.pt", {f"{name}.weight": ONE, "z.weight": TWO})
    with pytest.raises(ContainerError, match="a name that HDF5 cannot hold"):
        api.convert(path, tmp_path / "y.h5", to="keras", kinds={"*": "Linear"})
    assert not (tmp_path / "y.h5").exists()


def test_digits_that_are_not_ascii(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.weights.h5", "w") as file:
        file.create_group("vars")
        for name in ("٣" * 5000, "٤2", "٤10"):
            file[f"layers/{name}/vars/0"] = np.ones((2, 3), "f4")
    names = list(formats.read(tmp_path / "x.weights.h5").tensors)
    assert names[1:] == ["layers/٤2/vars/0", "layers/٤10/vars/0"]


def test_slices_that_end_inside_an_element(tmp_path: Path) -> None:
    values = np.arange(4, dtype="f4").tobytes()
    head = b"\x08" + encode(4) + field_of(2, b"Float32")
    for cut in (6, 3):
        parts = (head + field_of(3, part) for part in (values[:cut], values[cut:]))
        records = (field_of(1, field_of(1, b"a") + field_of(2, part)) for part in parts)
        (tmp_path / "x.ckpt").write_bytes(b"".join(records))
        refuse(f"expected 16 bytes .*, found {cut} [+] {16 - cut} bytes", tmp_path / "x.ckpt")


def test_an_index_in_a_bundle_reads_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save_file({"w": ONE.numpy()}, tmp_path / "in" / "m.safetensors")
    save_file({"w": TWO.numpy()}, tmp_path / "m.safetensors")
    listed = tmp_path / "m.index.json"
    listed.write_text(json.dumps({"weight_map": {"w": "m.safetensors"}}))
    shard = tmp_path / "in" / "m.safetensors"
    for name, content in {"a.tar": {}, "b.tgz": {"m__safetensors": shard}}.items():
        path = tared(tmp_path / name, m__index__json=listed, **content)
        refuse("'m.index.json' inside names other files; try unpacking", path)
        refuse("'m.index.json' inside names other files; try unpacking", f"{path}:m.index.json")
    assert (formats.read(f"{path}:m.safetensors").tensors["w"].numpy() == ONE.numpy()).all()
    (tmp_path / "m.gz").write_bytes(gzip.compress(listed.read_bytes()))
    refuse("inside names other files", tmp_path / "m.gz")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keras") / "m.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(path)
    return path


def test_a_keras_model_in_a_bundle(tmp_path: Path, model: Path) -> None:
    """The source is the bundle: it is converted, and never written over."""
    path = tared(tmp_path / "m.tgz", m__keras=model)
    assert api.convert(f"{path}:m.keras", tmp_path / "x.ckpt", to="mindspore").written
    packed = tmp_path / "m.ckpt"
    packed.write_bytes(gzip.compress(model.read_bytes()))
    with pytest.raises(ContainerError, match="the target is the source itself"):
        api.convert(f"{packed}:m.ckpt", packed, to="mindspore", force=True)
    assert gzip.decompress(packed.read_bytes()) == model.read_bytes()


def test_nothing_is_selected_where_there_are_no_parts(tmp_path: Path, model: Path) -> None:
    save_file({"w": ONE.numpy()}, tmp_path / "m.safetensors")
    for path in (model, tmp_path / "m.safetensors"):
        for select in ("ema", "ema=a,model=b"):
            refuse("has no parts to select: found select=", path, select=select)
        assert formats.read(path, select="*").tensors.keys() == formats.read(path).tensors.keys()


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    save_file({"fc.weight": ONE.numpy(), "fc.bias": np.ones(3, "f4")}, tmp_path / "x.safetensors")
    with pytest.raises(ContainerError, match="cannot be written: no file can have this name"):
        api.convert(tmp_path / "x.safetensors", tmp_path / "a\0b.ckpt", to="mindspore")
    os.mkfifo(tmp_path / ".y.ckpt.0.part")
    assert api.convert(tmp_path / "x.safetensors", tmp_path / "y.ckpt", to="mindspore").written
    assert sorted(os.listdir(tmp_path)) == [".y.ckpt.0.part", "x.safetensors", "y.ckpt"]


class Odd(nn.Module):
    """Holds tensors that no state_dict has: a tuple, a constant, a buffer that is not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.start = (torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
        self.register_buffer("kept", torch.arange(4.0))
        self.register_buffer("passing", torch.arange(4.0) + 5, persistent=False)
        self.fixed, self._own = torch.ones(4) * 7, (torch.ones(2),)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) + self.start[1] + self.kept + self.passing + self.fixed


def test_what_no_state_dict_has_is_left_out(tmp_path: Path) -> None:
    model, path = Odd(), tmp_path / "x"
    script, program = torch.jit.script(model), torch.export.export(model, (torch.ones(2, 1, 3),))
    for save, value, left_out in (
        (torch.save, model, {"passing", "fixed", "start", "_own"}),
        (torch.jit.save, script, {"fixed", "start", "_own"}),
        (torch.export.save, program, set(program.constants)),
    ):
        save(value, path)
        checkpoint = formats.read(path)
        known = value.state_dict
        assert checkpoint.tensors.keys() == (known if isinstance(known, dict) else known()).keys()
        assert checkpoint.omitted.keys() == left_out


@pytest.mark.parametrize("views", [(), [(2, 1, math.inf, 1)]])
def test_numbers_of_a_tar_file_that_are_none(tmp_path: Path, views: Any) -> None:
    key = pickle.dumps((1 if views else math.inf, "cpu", torch.FloatStorage), 2)
    parts = {
        "storages": pickle.dumps(1, 2)
        + key
        + struct.pack("<q2f", 2, 1, 2)
        + pickle.dumps(views, 2),
        "tensors": pickle.dumps(0, 2),
        "pickle": pickle.dumps({"a": 1}, 2),
    }
    for name, data in parts.items():
        (tmp_path / name).write_bytes(data)
    path = tared(tmp_path / "x.tar", **{name: tmp_path / name for name in parts})
    refuse("damaged: cannot convert float infinity", path)


@pytest.mark.parametrize("end", ["", "!"])
def test_a_list_of_parameters_with_many_blanks(tmp_path: Path, end: str) -> None:
    (tmp_path / "x.txt").write_text(f"fc.weight  (5,{' ' * 2000}3)\nfc.bias 5{' ' * 4000}7{end}\n")
    if end:
        with pytest.raises(ContainerError, match="not a list of parameters"):
            shapes.read(tmp_path / "x.txt")
    else:
        found = {name: t.shape for name, t in shapes.read(tmp_path / "x.txt").tensors.items()}
        assert found == {"fc.weight": (5, 3), "fc.bias": (5, 7)}
