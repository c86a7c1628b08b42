"""Files made to harm, and what is said of them; those of one format alone stand in its own tests.

Pickles: ``test_pickle_machine``; zip archives: ``test_archive``; HDF5: ``test_hdf5``; views outside
their storage: ``test_torch_zip``; contents not as long as they say: ``test_mindspore_ckpt``.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import resource
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import ckptconv
from ckptconv import api, formats
from ckptconv.codecs.protobuf import encode, field_of
from ckptconv.errors import ContainerError
from tests.conftest import ROOT

SEEDS = ROOT / "tests" / "fuzz" / "seeds"


def header(text: bytes | str) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return len(raw).to_bytes(8, "little") + raw


def shaped(shape: str) -> bytes:
    return header('{"w":{"dtype":"F32","data_offsets":[0,0],"shape":' + shape + "}}")


def record(dims: bytes = b"\x08\x01", content: bytes = b"abcd", name: bytes = b"w") -> bytes:
    tensor = dims + field_of(2, b"Float32") + field_of(3, content)
    return field_of(1, field_of(1, name) + field_of(2, tensor))


def script(code: bytes) -> bytes:
    """A TorchScript archive with other code."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(SEEDS / "script-traced.pt") as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, code if b"class Plain" in data else data)
    return out.getvalue()


def saved(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


class Twice(torch.nn.Module):
    """``a.weight`` is a parameter of ``a``, and, if a file says so, one of the root."""

    def __init__(self) -> None:
        super().__init__()
        self.a = torch.nn.Linear(1, 1)
        self._parameters["a.weight"] = torch.nn.Parameter(torch.ones(1))


DIGITS = "9" * 4000
FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "petabytes.safetensors": (lambda: shaped("[1125899906842624]"), "expected 4503599627370496 b"),
    "digits.safetensors": (lambda: shaped(f"[{DIGITS},{DIGITS}]"), "expected dtype, shape and"),
    "empty.safetensors": (lambda: shaped(f"[0,{1 << 62}]"), "no array can have this shape"),
    "axes.safetensors": (lambda: shaped(str([0] * 40)), "no array can have this shape"),
    "negative.safetensors": (lambda: shaped("[-1]"), "expected dtype, shape and data_offsets"),
    "truth.safetensors": (lambda: shaped("[true]"), "expected dtype, shape and data_offsets"),
    "nested.safetensors": (
        lambda: header(b'{"w":' + b"[" * 99_999 + b"]" * 99_999 + b"}"),
        "header (of JSON|that takes at most)",
    ),
    "twice.safetensors": (
        lambda: header(b'{"__metadata__":{},"__metadata__":{}}'),
        "each name onc",
    ),
    "digits.ckpt": (lambda: b"\x0a" + b"\xff" * 11 + record(), "not a checkpoint"),
    "length.ckpt": (lambda: record() + b"\x0a" + encode(1 << 62), "found a length of 46116860184"),
    "inner.ckpt": (lambda: record() + field_of(1, b"\x0a\x7fab"), "found a length of 127"),
    "wire.ckpt": (lambda: record() + b"\x0d1234", "expected protobuf wire type 0 or 2, found 5"),
    "varint.ckpt": (lambda: record() + b"\x0a" + b"\xff" * 20, "varint of at most 10 bytes"),
    "dims.ckpt": (lambda: record(b"\x08\x01" * 65), "at most 64 dims, found 65"),
    "packed.ckpt": (
        lambda: record(field_of(1, b"\x01" * 65)),
        "at most 64 dims, found 65",
    ),
    "axes.ckpt": (lambda: record(b"\x08\x01" * 40), "no array can have this shape"),
    "empty.ckpt": (
        lambda: record(b"\x08\x00\x08" + encode(1 << 62), b""),
        "no array can have this shape",
    ),
    "petabytes.ckpt": (lambda: record(b"\x08" + encode(1 << 50)), "expected 4503599627370496 byte"),
    "twice.ckpt": (
        lambda: record() + record(name=b"v") + record(),
        "w: two parameters of one",
    ),
    "twice.pt": (lambda: saved({1: torch.ones(1), "1": torch.ones(2)}), "1: two tensors of one na"),
    "module.pt": (lambda: saved(Twice()), "a.weight: two tensors of one name"),
    "call.pt": (lambda: saved({"w": Evil()}), "no weights in it"),
    "open.gz": (lambda: gzip.compress(b"x" * 999)[:-9], "truncated"),
    "crc.gz": (lambda: gzip.compress(b"PK\3\4")[:-8] + bytes(8), "damaged"),
}


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch owned",)


@pytest.mark.parametrize("name", FILES)
def test_a_file_and_what_is_said_of_it(tmp_path: Path, monkeypatch: object, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    make, expected = FILES[name]
    path = tmp_path / name
    path.write_bytes(make())
    with pytest.raises(ContainerError, match=expected) as caught:
        formats.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert os.listdir(tmp_path) == [name]


def test_what_is_no_file(tmp_path: Path) -> None:
    """Opening a FIFO would wait for ever, and /dev/zero never ends."""
    os.mkfifo(tmp_path / "fifo.pt")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket.pt"))
        for path, words in (
            (tmp_path / "fifo.pt", "expected a file, found not a regular file"),
            (Path("/dev/zero"), "expected a file, found not a regular file"),
            (tmp_path / "socket.pt", "cannot be opened"),
            (tmp_path, "expected one of the files in it, found a folder"),
            (tmp_path / "a\0b", "cannot be opened: embedded null byte"),
        ):
            with pytest.raises(ContainerError, match=words):
                formats.read(path)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "\0" + "x" * 300, "x" * 300 + "\0"])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    source = tmp_path / "x.pt"
    torch.save(torch.nn.GRU(3, 2).state_dict(), source)
    target, said = str(tmp_path / name), "no file can have this name"
    for suffix, to in ((".ckpt", "mindspore"), (".pt", "torch"), (".h5", "keras")):
        with pytest.raises(ContainerError, match=said):
            ckptconv.convert(source, target + suffix, to=to)
    with pytest.raises(ContainerError, match=said):
        ckptconv.golden(source, target + ".npz")
    with pytest.raises(ContainerError, match="cannot be opened"):
        ckptconv.load(target)
    pairs = [(source, target + ".ckpt"), (target, tmp_path / "y.ckpt")]
    for outcome in ckptconv.convert_many(pairs, to="mindspore"):
        assert said in outcome.error
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def many(count: int) -> bytes:
    return b"".join(record(name=b"%x" % i) for i in range(count))


def wide_text() -> bytes:
    """Eight attributes of 14 million characters, one of them wide."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.attrs["layer_names"] = ["a"]
        file.create_group("a").attrs["weight_names"] = ["w"]
        file["a/w"] = [1.0]
        for i in range(8):
            file.attrs[f"t{i}"] = "x" * (14 << 20) + "\U0001f600"
    return out.getvalue()


HUGE: dict[str, tuple[Callable[[], bytes], str]] = {
    "objects.safetensors": (
        lambda: header(b'{"a":[' + b"{}," * (4 << 20) + b"1]}"),
        "header that takes at most",
    ),
    "lists.weights.json": (
        lambda: b'{"weight_map":{"a":"x.weights.h5","b":[' + b"[]," * (5 << 20) + b"1]}}",
        "the index cannot be read",
    ),
    "records.ckpt": (lambda: many(200_000), "too many records for its size: expected 7"),
    "entries.pt": (
        lambda: saved(dict.fromkeys(map(str, range(100_000)), torch.ones(1))),
        "too many entries for its size: expected 4",
    ),
    "text.h5": (wide_text, "more text than a model has"),
    "final.pt": (
        lambda: script(b"class Plain(Module):\n  x : Final[" + b"] = a" * 2_000_000 + b"\n"),
        "",
    ),
    "names.pt": (
        lambda: script(
            b'class Plain(Module):\n  __parameters__ = ["' + b'\\"' * 1_000_000 + b"]\n"
        ),
        "",
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_little_time_and_memory(tmp_path: Path, name: str) -> None:
    """Whole process: 5 seconds of processor time, and 256 MiB."""
    make, expected = HUGE[name]
    (tmp_path / name).write_bytes(make())
    run = subprocess.run(
        [sys.executable, "-m", "ckptconv", "inspect", str(tmp_path / name)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (5, 6)),
    )
    assert run.returncode == (1 if expected else 0), run.stderr
    assert expected in run.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 1 << 31
    peak = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / name)], cwd=ROOT, capture_output=True, text=True
    )
    assert int(peak.stdout) < 256 << 10


def test_as_many_tensors_as_the_bytes_of_a_file_allow(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").write_bytes(many(40_000))
    assert len(formats.read(tmp_path / "x.ckpt").tensors) == 40_000


PEAK = """
import sys
from ckptconv import formats
from ckptconv.errors import CkptconvError
try:
    formats.read(sys.argv[1])
except CkptconvError:
    pass
lines = open("/proc/self/status").read().splitlines()
print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
"""


def test_a_bomb_of_repeats_is_not_written(tmp_path: Path) -> None:
    """Each of the tensors repeats one element into 64 MiB."""
    value = {f"{i}.weight_ih_l0": torch.ones(1).expand(4096, 4096) for i in range(20)}
    value |= {f"{i}.weight_hh_l0": torch.ones(1).expand(4096, 1024) for i in range(20)}
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(ContainerError, match=r"x\.ckpt: the source unfolds to far more than it h"):
        api.convert(tmp_path / "x.pt", tmp_path / "x.ckpt", to="mindspore")
    assert os.listdir(tmp_path) == ["x.pt"]


def index(path: Path, file: object) -> Path:
    path.write_text(json.dumps({"weight_map": {"w": file}}))
    return path


@pytest.mark.parametrize("file", ["..", ".", "", "../x", "/x", "a\\b", "a\0b", 1, None, ["x"]])
@pytest.mark.parametrize("name", ["model.safetensors.index.json", "x.weights.json"])
def test_shards_elsewhere(tmp_path: Path, file: object, name: str) -> None:
    inside = [file, "x.weights.h5"] if name.startswith("x") else file
    path = index(tmp_path / name, inside)
    with pytest.raises(ContainerError, match=r"bare (file )?name"):
        formats.read(path)


@pytest.mark.parametrize("name", ["model.safetensors.index.json", "x.weights.json"])
def test_a_shard_with_an_endless_name(tmp_path: Path, name: str) -> None:
    path = index(tmp_path / name, ["a" * 99_999 + ".weights.h5"][0])
    with pytest.raises(ContainerError) as caught:
        formats.read(path)
    assert len(str(caught.value)) < 4000


def test_an_index_that_names_itself_through_a_bundle(tmp_path: Path) -> None:
    path = index(tmp_path / "model.index.json", "x.tar")
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        file.add(path, "model.index.json")
    with pytest.raises(ContainerError, match="an index or a bundle as a shard"):
        formats.read(path)
    path = index(tmp_path / "model.index.json", "model.index.json")
    with pytest.raises(ContainerError, match="an index or a bundle as a shard"):
        formats.read(path)


def weights() -> dict[str, np.ndarray]:
    return {"fc.weight": np.ones((2, 3), "f4"), "fc.bias": np.ones(2, "f4")}


def test_links(tmp_path: Path) -> None:
    """A link to the source is the source; one planted as a temporary file is not followed."""
    source, victim = tmp_path / "x.safetensors", tmp_path / "victim"
    save_file(weights(), source)
    victim.write_text("precious")
    (tmp_path / "link.safetensors").symlink_to(source)
    with pytest.raises(ContainerError, match="the target is the source itself"):
        api.convert(source, tmp_path / "link.safetensors", to="torch", force=True)
    planted = tmp_path / ".x.ckpt.0.part"
    planted.symlink_to(victim)
    (tmp_path / "dangling.ckpt").symlink_to(tmp_path / "x.ckpt")
    with pytest.raises(ContainerError, match="exists already"):
        api.convert(source, tmp_path / "dangling.ckpt", to="mindspore")
    api.convert(source, tmp_path / "dangling.ckpt", to="mindspore", force=True)
    assert (tmp_path / "x.ckpt").is_file()
    assert victim.read_text() == "precious"
    assert planted.is_symlink()


ESCAPES = "\x1b[31mred\x07\r\n\u202e\x9b"


def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "ckptconv", *map(str, arguments)], cwd=ROOT, capture_output=True
    )


def test_names_cannot_drive_a_terminal(tmp_path: Path) -> None:
    source = tmp_path / "x.pt"
    state = {f"{ESCAPES}.{name}": torch.ones(2, 3)[: 3 - i] for i, name in enumerate("ab")}
    state |= {f"{ESCAPES}.fc.weight": torch.ones(2, 3), f"{ESCAPES}.fc.bias": torch.ones(2)}
    torch.save(state, source)
    for arguments in (
        ("inspect", source),
        ("inspect", source, "--json"),
        ("torch2ms", source),
        ("torch2ms", source, "--kind", f"{ESCAPES}=Linear"),
        ("convert", source, tmp_path / "y.pt", "--to", "torch"),
    ):
        result = run(*arguments)
        text = (result.stdout + result.stderr).decode()
        assert "red" in text
        assert "Traceback" not in text
        assert not {*ESCAPES} - {*"[31mred\n"} & {*text}


@pytest.mark.parametrize("name", ["y.ckpt", "y.pt", "y.h5", "y.weights.h5", "y.safetensors"])
def test_a_name_that_is_no_text(tmp_path: Path, name: str) -> None:
    """pickle writes half of a surrogate pair; no other format can."""
    source = tmp_path / "x.pt"
    torch.save({"\ud800.weight": torch.ones(2, 3), "\ud800.bias": torch.ones(2)}, source)
    framework = {"y.ckpt": "mindspore", "y.pt": "torch"}.get(name, "keras")
    with pytest.raises(
        ContainerError, match=r"a name that is no Unicode text|names that HDF5 cannot"
    ):
        api.convert(source, tmp_path / name, to="torch" if name[2:] == "safetensors" else framework)
    assert os.listdir(tmp_path) == ["x.pt"]


def test_a_pickle_that_calls_beside_weights_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "owned"
    state = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2), "x": Touch(str(marker))}
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        path = tmp_path / "x.pt"
        torch.save(state, path, **options)
        checkpoint = formats.read(path)
        assert list(checkpoint.tensors) == ["fc.weight", "fc.bias"]
        assert list(checkpoint.omitted) == ["x"]
        assert not marker.exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


class Touch:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.path,)
