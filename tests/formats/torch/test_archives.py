"""TorchScript, exported programs, shards and bundles, against torch."""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ckptconv.errors import ContainerError
from ckptconv.formats import read, write
from tests.noise import hold_against_noise
from tests.torch_samples import assert_same

pytestmark = pytest.mark.filterwarnings("ignore")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 3, padding_idx=1)
        self.rnn = nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)
        self.norm = nn.LayerNorm(8, eps=1e-3)
        self.bn = nn.BatchNorm1d(5, momentum=0.3)
        self.fc = nn.Linear(8, 2)
        self.tied = self.fc
        self.register_buffer("kept", torch.arange(3.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, _ = self.rnn(self.embed(x))
        return self.tied(self.bn(self.norm(y))) + self.kept[0]


@pytest.fixture
def net() -> Net:
    torch.manual_seed(3)
    return Net().eval()


INPUT = torch.arange(10).reshape(2, 5) % 9


@pytest.mark.parametrize("traced", [False, True])
def test_torchscript(tmp_path: Path, net: Net, traced: bool) -> None:
    script = torch.jit.trace(net, INPUT) if traced else torch.jit.script(net)
    torch.jit.save(script, tmp_path / "x.pt")
    checkpoint = read(tmp_path / "x.pt")
    assert checkpoint.format == "torchscript"
    assert_same(checkpoint.tensors, torch.jit.load(tmp_path / "x.pt").state_dict())
    classes = {path: module.class_name for path, module in checkpoint.modules.items()}
    assert classes[""].endswith(".Net")
    assert (classes["rnn"], classes["embed"], classes["fc"]) == ("LSTM", "Embedding", "Linear")
    attributes = checkpoint.modules["rnn"].attributes
    expected = {"batch_first": True, "bidirectional": True, "num_layers": 2, "hidden_size": 4}
    assert attributes == {} if traced else expected.items() <= dict(attributes).items()
    part = read(tmp_path / "x.pt", select="rnn")
    assert_same(part.tensors, net.rnn.state_dict())
    with pytest.raises(ContainerError, match="no module there"):
        read(tmp_path / "x.pt", select="nothing")


def test_torchscript_tensors_that_are_no_parameters(tmp_path: Path) -> None:
    class Stateful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(2, 3)
            self.state = torch.zeros(3)
            self.sizes = [1, 2]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cell(x)[0] + self.state

    torch.jit.save(torch.jit.script(Stateful()), tmp_path / "x.pt")
    checkpoint = read(tmp_path / "x.pt")
    assert_same(checkpoint.tensors, torch.jit.load(tmp_path / "x.pt").state_dict())
    assert list(checkpoint.omitted) == ["state"]
    assert checkpoint.modules[""].attributes == {"sizes": [1, 2]}


def test_frozen_torchscript_is_refused_with_the_way_out(tmp_path: Path, net: Net) -> None:
    torch.jit.save(torch.jit.freeze(torch.jit.script(net)), tmp_path / "x.pt")
    with pytest.raises(ContainerError, match=r"try saving the module before torch\.jit\.freeze"):
        read(tmp_path / "x.pt")


def test_constants_of_torchscript_are_accounted_for(tmp_path: Path, net: Net) -> None:
    frozen = torch.jit.freeze(torch.jit.script(net.eval()), preserved_attrs=["fc"])
    torch.jit.save(frozen, tmp_path / "x.pt")
    checkpoint = read(tmp_path / "x.pt")
    assert_same(checkpoint.tensors, {f"fc.{k}": v for k, v in net.fc.state_dict().items()})
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        code = "".join(archive.read(n).decode() for n in archive.namelist() if n.endswith(".py"))
    named = set(re.findall(r"CONSTANTS\.c\d+", code))
    assert set(checkpoint.omitted) == named
    assert len(named) > len(net.rnn.state_dict())


def test_code_of_a_torchscript_file_is_text(tmp_path: Path, net: Net) -> None:
    torch.jit.save(torch.jit.script(net), tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as source,
        zipfile.ZipFile(tmp_path / "y.pt", "w") as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if "/rnn" in name and name.endswith(".py"):  # torch numbers what it compiles again
                data = data.replace(b"bidirectional : Final[bool] = True", b"bidirectional : F = 1")
                data = data.replace(b"= True", b"= __import__('os').system('false')")
                data = data.replace(b"= 2\n", b"= " + b"(" * 3000 + b"\n")
            target.writestr(name, data)
    checkpoint = read(tmp_path / "y.pt")
    assert_same(checkpoint.tensors, torch.jit.load(tmp_path / "x.pt").state_dict())
    assert "batch_first" not in checkpoint.modules["rnn"].attributes
    assert "num_layers" not in checkpoint.modules["rnn"].attributes
    assert checkpoint.modules["rnn"].attributes["hidden_size"] == 4


def export(net: Net, path: Path) -> dict[str, torch.Tensor]:
    program = torch.export.export(net, (INPUT,))
    torch.export.save(program, path)
    return dict(program.state_dict)


def test_exported_programs(tmp_path: Path, net: Net) -> None:
    expected = export(net, tmp_path / "x.pt2")
    checkpoint = read(tmp_path / "x.pt2")
    assert checkpoint.format == "torch-export"
    assert checkpoint.tensors.keys() == expected.keys()
    assert_same(checkpoint.tensors, {name: expected[name] for name in checkpoint.tensors})
    tied = [checkpoint.tensors[name].extents() for name in ("fc.weight", "tied.weight")]
    assert tied[0] == tied[1]
    modules = checkpoint.modules
    assert (modules["rnn"].class_name, modules["norm"].class_name) == ("LSTM", "LayerNorm")
    wanted = {"batch_first": True, "bidirectional": True, "num_layers": 2, "bias": True}
    assert wanted.items() <= dict(modules["rnn"].attributes).items()
    assert modules["norm"].attributes["eps"] == 1e-3
    assert modules["bn"].attributes["momentum"] == 0.3
    assert modules["embed"].attributes["padding_idx"] == 1


def test_exported_programs_of_older_versions(tmp_path: Path, net: Net) -> None:
    inner = io.BytesIO()
    torch.save(net.state_dict(), inner)
    with zipfile.ZipFile(tmp_path / "x.pt2", "w") as file:
        file.writestr("version", "7.1")
        file.writestr("serialized_state_dict.pt", inner.getvalue())
        file.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(ContainerError, match="damaged description"):
        read(tmp_path / "x.pt2")
    with zipfile.ZipFile(tmp_path / "x.pt2", "w") as file:
        file.writestr("serialized_state_dict.pt", inner.getvalue())
    checkpoint = read(tmp_path / "x.pt2")
    assert_same(checkpoint.tensors, net.state_dict())
    assert checkpoint.modules["bn"].version == 2


def test_damaged_descriptions_of_exported_weights(tmp_path: Path, net: Net) -> None:
    export(net, tmp_path / "x.pt2")
    with zipfile.ZipFile(tmp_path / "x.pt2") as source:
        content = {name: source.read(name) for name in source.namelist()}
    (key,) = (name for name in content if name.endswith("model_weights_config.json"))
    entry = json.loads(content[key])["config"]["fc.weight"]
    meta = entry["tensor_meta"]
    for bad in (
        {},
        [],
        {"config": {"w": {}}},
        {"config": {"w": {**entry, "path_name": "nothing"}}},
        {"config": {"w": {**entry, "use_pickle": True}}},
        {"config": {"w": {**entry, "tensor_meta": {**meta, "dtype": 9}}}},
        {"config": {"w": {**entry, "tensor_meta": {**meta, "layout": 1}}}},
        {"config": {"w": {**entry, "tensor_meta": {**meta, "sizes": [{"as_int": 1 << 40}]}}}},
        {"config": {"w": {**entry, "tensor_meta": {**meta, "sizes": [{"as_expr": "s0"}]}}}},
    ):
        with zipfile.ZipFile(tmp_path / "y.pt2", "w") as target:
            for name, data in content.items():
                target.writestr(name, json.dumps(bad) if name == key else data)
        with pytest.raises(ContainerError):
            read(tmp_path / "y.pt2")


def shards(folder: Path, *, safe: bool) -> dict[str, torch.Tensor]:
    """Write a state_dict in two files with an index, and return it."""
    tensors = {f"layer.{i}": torch.arange(4.0) + i for i in range(6)}
    files = [f"model-{i}.{'safetensors' if safe else 'bin'}" for i in range(2)]
    for number, file in enumerate(files):
        part = {name: t for name, t in tensors.items() if int(name[-1]) % 2 == number}
        (save_file if safe else torch.save)(part, folder / file)  # type: ignore[operator]
    table = {name: files[int(name[-1]) % 2] for name in tensors}
    index = {"metadata": {"total_size": 96}, "weight_map": table}
    (folder / "model.index.json").write_text(json.dumps(index, indent=2))
    return tensors


@pytest.mark.parametrize("safe", [True, False])
def test_sharded_checkpoints(tmp_path: Path, safe: bool) -> None:
    expected = shards(tmp_path, safe=safe)
    checkpoint = read(tmp_path / "model.index.json")
    assert checkpoint.format == "sharded-index"
    assert checkpoint.facts.metadata == {"total_size": 96}
    assert_same(checkpoint.tensors, expected)
    assert len(checkpoint.files) == 3
    assert not checkpoint.omitted
    write(replace(checkpoint, format="torch-zip"), tmp_path / "one.pt")
    assert_same(checkpoint.tensors, torch.load(tmp_path / "one.pt", weights_only=True))


def edited(folder: Path, change: Any) -> Path:
    path = folder / "model.index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))
    return path


@pytest.mark.parametrize(
    "file", ["../x.bin", "/etc/passwd", "a/b.bin", "..", "", ".", "a\\b", "\0", 3, None]
)
def test_shards_outside_the_folder_are_refused(tmp_path: Path, file: object) -> None:
    shards(tmp_path, safe=True)
    path = edited(tmp_path, lambda index: index["weight_map"].update(evil=file))
    with pytest.raises(ContainerError, match="a shard outside the folder"):
        read(path)


def test_shards_that_do_not_agree_with_the_index(tmp_path: Path) -> None:
    shards(tmp_path, safe=True)
    path = edited(tmp_path, lambda index: index["weight_map"].pop("layer.3"))
    assert read(path).omitted == {"layer.3": "in model-1.safetensors, but not in the index"}
    edited(tmp_path, lambda index: index["weight_map"].update(other="model-0.safetensors"))
    with pytest.raises(ContainerError, match="'other' is not in its shard"):
        read(path)
    edited(tmp_path, lambda index: index["weight_map"].update(other="missing.bin"))
    with pytest.raises(ContainerError, match=r"a shard is missing: expected missing\.bin"):
        read(path)
    edited(tmp_path, lambda index: index["weight_map"].update(other=path.name))
    with pytest.raises(ContainerError, match="an index or a bundle as a shard"):
        read(path)
    path.write_text('{"weight_map": ' + "[" * 50_000)
    with pytest.raises(ContainerError, match="the index cannot be read"):
        read(path)
    path.write_text('{"weight_map": {}}')
    with pytest.raises(ContainerError, match="expected a weight_map"):
        read(path)


def bundle(path: Path, content: dict[str, bytes], mode: str) -> None:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def pickled(value: object, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_bundles(tmp_path: Path, mode: str, zipped: bool, style: int) -> None:
    state = nn.GRU(3, 4).state_dict()
    weights = pickled(state, _use_new_zipfile_serialization=zipped)
    name = "a/" + "long" * 30 + "/weights.th"
    path = tmp_path / "model.tar.gz"
    with tarfile.open(path, mode, format=style) as file:  # type: ignore[call-overload]
        for entry, data in {"config.json": b"{}", name: weights}.items():
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    checkpoint = read(path)
    assert_same(checkpoint.tensors, state)
    assert checkpoint.notes == (f"read from {name!r} inside",)
    assert [source.path for source in checkpoint.files] == [str(path)]
    assert_same(read(f"{path}:{name}").tensors, state)
    with pytest.raises(ContainerError, match=r"expected 'other', found 'config.json', 'a/long"):
        read(f"{path}:other")
    write(replace(checkpoint, format="torch-zip"), tmp_path / "o.pt")
    assert_same(read(tmp_path / "o.pt").tensors, state)


def test_bundles_with_several_checkpoints_name_them(tmp_path: Path) -> None:
    one, two = {"w": torch.ones(2)}, {"w": torch.zeros(2)}
    path = tmp_path / "b.tar.gz"
    bundle(path, {"one.pt": pickled(one), "two.pt": pickled(two), "notes": b"text"}, "w:gz")
    with pytest.raises(ContainerError, match=r"found 'one.pt', 'two.pt'; try b.tar.gz:one.pt"):
        read(path)
    assert_same(read(f"{path}:two.pt").tensors, two)
    bundle(path, {"notes": b"text"}, "w:gz")
    with pytest.raises(ContainerError, match="no checkpoint inside"):
        read(path)


def test_a_compressed_file(tmp_path: Path) -> None:
    state = nn.GRU(3, 4).state_dict()
    data = gzip.compress(pickled(state))
    (tmp_path / "x.pt.gz").write_bytes(data)
    assert_same(read(tmp_path / "x.pt.gz").tensors, state)
    for bad in (data[:-9], data[: len(data) // 2], data + b"x", data[:40] + b"xxx" + data[43:]):
        (tmp_path / "y.gz").write_bytes(bad)
        with pytest.raises(ContainerError):
            read(tmp_path / "y.gz")


def test_a_compressed_bomb(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(300 << 20), 1))
    with pytest.raises(ContainerError, match="inflates to too much"):
        read(tmp_path / "x.gz")


def test_members_that_lead_elsewhere_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "b.tar"
    with tarfile.open(path, "w") as file:
        link = tarfile.TarInfo("weights.pt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
        info = tarfile.TarInfo("../../escaped.pt")
        data = pickled({"w": torch.ones(2)})
        info.size = len(data)
        file.addfile(info, io.BytesIO(data))
    assert_same(read(path).tensors, {"w": torch.ones(2)})
    assert not (tmp_path.parent.parent / "escaped.pt").exists()


@pytest.mark.parametrize("kind", ["script.pt", "export.pt2", "bundle.tar"])
def test_noise_never_gives_another_error(tmp_path: Path, net: Net, kind: str) -> None:
    path = tmp_path / kind
    if kind == "script.pt":
        torch.jit.save(torch.jit.script(net), path)
    elif kind == "export.pt2":
        export(net, path)
    else:
        bundle(path, {"a.pt": pickled(net.state_dict())}, "w")
    hold_against_noise(read, path, path.read_bytes(), seed=9, rounds=250, flips=6, torn=True)


def test_a_class_of_the_main_script_is_none_of_torch(tmp_path: Path) -> None:
    """TorchScript leaves ``__main__`` out of its name."""
    own = type("Linear", (nn.Linear,), {"__module__": "__main__"})
    traced = torch.jit.trace(nn.Sequential(own(3, 4), nn.Linear(4, 2)), torch.zeros(2, 3))
    torch.jit.save(traced, tmp_path / "x.pt")
    found = read(tmp_path / "x.pt").modules
    assert [found[path].class_name for path in "01"] == ["__main__.Linear", "Linear"]
