"""Makes ``tests/fuzz/seeds``: small files by the real frameworks, or by h5py where those are large.

``python -m tests.fuzz.make_seeds`` writes them anew; Keras's own are those of ``tests/golden``.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import nn

from ckptconv import api

SEEDS = Path(__file__).with_name("seeds")


class Tagger(nn.Module):
    """A little of everything that matters."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 2)
        self.rnn = nn.LSTM(2, 2, num_layers=1, bidirectional=True, batch_first=True)
        self.norm = nn.LayerNorm(4)
        self.fc = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.norm(self.rnn(self.embed(x))[0]))


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(2, 2)
        self.bn = nn.BatchNorm1d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x)[0]


class Held(nn.Module):
    """Holds a layer twice, and tensors that no state_dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(2, 2, 1))
        self.net = nn.Sequential(self.conv, nn.ReLU())
        self.register_buffer("table", torch.ones(3, 2), persistent=False)
        self.mask = torch.zeros(2).log()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.net(x).mT + self.table * torch.tensor([1.5, 2.0])
        return torch.softmax(y + self.mask, -1) * torch.tensor(3.0)


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)
        self.scale = nn.Parameter(torch.ones(3))


def training() -> dict[str, object]:
    model = Plain()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 1, 2)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "state_dict": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, name="x"),
        "best": np.float64(0.5),
        "history": collections.defaultdict(list, loss=[1.0, 0.5]),
        "array": np.arange(6.0).reshape(2, 3),
    }


def views() -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32)
    return {
        "rnn.weight_ih_l0": base[:4].reshape(2, 2),
        "rnn.weight_hh_l0": base[4:8].reshape(2, 2).T,
        "rnn.bias_ih_l0": base[8:16:4],
        "rnn.bias_hh_l0": base[8:16:4],
        "a.weight": torch.ones(1).expand(3),
        "half.bias": base[:2].to(torch.bfloat16),
        "double.bias": base[:2].double(),
        "flag": torch.tensor(True),
    }


def torch_files() -> None:
    torch.manual_seed(7)
    tagger = Tagger()
    values = {
        "tagger": tagger.state_dict(),
        "training": training(),
        "module": tagger,
        "views": views(),
        "list": [torch.ones(2), torch.zeros(1, 2)],
        "quantized": torch.ao.quantization.quantize_dynamic(Plain(), {nn.GRU}).state_dict(),
    }
    for name, value in values.items():
        save(value, f"zip-{name}.pt")
        if name not in ("module", "quantized"):
            save(value, f"legacy-{name}.pt", _use_new_zipfile_serialization=False)
    # Old files hold the source of each class, and recurrent layers have much of it.
    save(Head(), "legacy-module.pt", _use_new_zipfile_serialization=False)
    save(values["tagger"], "zip-protocol4.pt", pickle_protocol=4)
    torch.jit.save(torch.jit.script(Plain()), SEEDS / "script-plain.pt")
    torch.jit.save(torch.jit.trace(Plain(), torch.ones(1, 1, 2)), SEEDS / "script-traced.pt")
    for model, shape in ((Plain(), (1, 1, 2)), (Held(), (1, 2, 3))):
        exported = torch.export.export(model.eval(), (torch.ones(shape),))
        torch.export.save(exported, SEEDS / f"export-{type(model).__name__.lower()}.pt2")


def save(value: object, name: str, **options: object) -> None:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    (SEEDS / name).write_bytes(buffer.getvalue())


class Reference:
    """Stands for a tensor in the pickle of a tar file."""

    def __init__(self, key: int) -> None:
        self.key = key


class Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> str | None:
        return str(value.key) if isinstance(value, Reference) else None


def tar_file() -> None:
    """What torch 0.1.9 wrote (torch/serialization.py, ``legacy_load``, reads it)."""

    def dumped(value: object) -> bytes:
        out = io.BytesIO()
        Pickler(out, 2).dump(value)
        return out.getvalue()

    storages, tensors = dumped(2), dumped(2)
    for key, count in ((1, 6), (2, 3)):
        storages += dumped((key, "cpu", torch.FloatStorage)) + count.to_bytes(8, "little")
        storages += np.arange(1, count + 1, dtype="<f4").tobytes()
    storages += dumped([(3, 1, 2, 4)])
    for key, storage, shape in ((10, 1, (2, 3)), (11, 3, (4,))):
        numbers = (*shape, *((3, 1) if len(shape) == 2 else (1,)), 0)
        tensors += dumped((key, storage, torch.FloatTensor)) + struct.pack("<q", len(shape))
        tensors += struct.pack(f"<{len(numbers)}q", *numbers)
    state = {"fc.weight": Reference(10), "fc.bias": Reference(11)}
    parts = {"sys_info": dumped({}), "pickle": dumped(state)}
    with tarfile.open(SEEDS / "old.tar", "w", format=tarfile.PAX_FORMAT) as file:
        for name, data in {"tensors": tensors, "storages": storages, **parts}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))


def mindspore_files() -> None:
    os.environ.setdefault("GLOG_v", "3")
    import mindspore

    network = [
        {"name": name, "data": mindspore.Tensor(value.numpy())}
        for name, value in Tagger().state_dict().items()
    ]
    mindspore.save_checkpoint(network, str(SEEDS / "tagger.ckpt"))
    mindspore.save_checkpoint(network, str(SEEDS / "crc.ckpt"), crc_check=True)
    extra = {"epoch_num": 3, "note": "text"}
    mindspore.save_checkpoint(network[:2], str(SEEDS / "extra.ckpt"), append_dict=extra)
    for path in SEEDS.glob("*.ckpt"):
        path.chmod(0o644)


def safetensors_files() -> None:
    from safetensors.numpy import save_file

    tensors = {name: value.numpy() for name, value in Tagger().state_dict().items()}
    save_file(tensors, SEEDS / "tagger.safetensors", metadata={"format": "pt"})
    kinds = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?"]
    save_file({k: np.ones((1, 2), k) for k in kinds}, SEEDS / "dtypes.safetensors")


def hdf5_files() -> None:
    """HDF5 as others than Keras lay it out: chunked, filtered, compact, in the 1.8 format."""
    storage = {
        "gzip": {"chunks": (2, 2), "compression": "gzip", "shuffle": True, "fletcher32": True},
        "lzf": {"chunks": (2, 8), "compression": "lzf"},
        "chunks": {"chunks": (1, 2)},
    }
    for name, options in storage.items():
        with h5py.File(SEEDS / f"legacy-{name}.h5", "w") as file:
            legacy(file, options)
    for name in ("legacy", "weights"):
        with h5py.File(SEEDS / f"v108-{name}.h5", "w", libver=("v108", "v108")) as file:
            legacy(file, {}) if name == "legacy" else weights(file)
    with h5py.File(SEEDS / "dense-legacy.h5", "w", libver=("v108", "v108")) as file:
        legacy(file, {})  # more than eight of what is not ASCII stand in heaps of their own
        for i in range(9):
            file.attrs[f"né{i}"] = "é"
            file["lstm"].create_group(f"vidé{i}")
    with h5py.File(SEEDS / "block.weights.h5", "w", userblock_size=512) as file:
        weights(file)


def legacy(file: h5py.File, options: dict[str, object]) -> None:
    file.attrs["layer_names"] = ["lstm"]
    group = file.create_group("lstm")
    shapes = {"kernel": (3, 8), "recurrent_kernel": (2, 8), "bias": (8,)}
    group.attrs["weight_names"] = [f"lstm/cell/{name}:0" for name in shapes]
    for name, shape in shapes.items():
        values = np.arange(1, 1 + np.prod(shape), dtype="f4").reshape(shape)
        own = options if len(shape) == 2 else {}
        group.create_dataset(f"lstm/cell/{name}:0", data=values, **own)


def weights(file: h5py.File) -> None:
    for i, shape in enumerate([(3, 8), (2, 8), (8,)]):
        file[f"layers/lstm/cell/vars/{i}"] = np.full(shape, i + 1, "f4")
    file["layers/half/vars/0"] = np.ones(3, "f2")
    file["layers/half/vars"].attrs["name"] = "half"
    file.create_group("vars")


def index_files() -> None:
    """A model in two shards, in either container, as transformers writes it."""
    from safetensors.numpy import save_file

    parts = list(Tagger().state_dict().items())
    parts = [dict(parts[:4]), dict(parts[4:])]
    for suffix in ("safetensors", "bin"):
        shards = [f"model-{i}.{suffix}" for i in (1, 2)]
        for name, part in zip(shards, parts, strict=True):
            if suffix == "bin":
                save(part, name)
            else:
                save_file({k: v.numpy() for k, v in part.items()}, SEEDS / name)
        table = {key: name for name, part in zip(shards, parts, strict=True) for key in part}
        text = json.dumps({"metadata": {"total_size": 1}, "weight_map": table}, indent=1)
        (SEEDS / f"model.{suffix}.index.json").write_text(text)


def bundles() -> None:
    packed = gzip.compress((SEEDS / "zip-tagger.pt").read_bytes(), mtime=0)
    (SEEDS / "tagger.pt.gz").write_bytes(packed)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        file.add(SEEDS / "tagger.safetensors", "model/weights.safetensors", filter=_anonymous)
    (SEEDS / "model.tar.gz").write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    return member.replace(uid=0, gid=0, uname="", gname="", mtime=0, mode=0o644)


def configurations() -> None:
    """Weights of Keras with their configuration beside them."""
    import keras

    layers = keras.layers
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.Embedding(4, 2, mask_zero=True, name="embed")(tokens)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="both")(x)
    y = layers.GRU(2, name="gru")(x)
    z = layers.GlobalAveragePooling1D(name="pool")(layers.Conv1D(2, 3, name="conv")(x))
    joined = layers.Concatenate(name="join")([y, z])
    model = keras.Model(tokens, layers.Dense(1, activation="tanh", name="head")(joined))
    plain = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(3, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(2, activation="softmax", name="last"),
        ]
    )
    ops, x = keras.ops, keras.Input((4, 3), name="x")
    y = layers.Dense(3, name="dense")(x)
    parts = ops.split(ops.where(ops.logical_not(y > 0.1), y, 0.5), 3, axis=-1)
    given = [ops.normalize(ops.cumsum(parts[0], axis=1)), ops.tile(parts[1], (1, 1, 2))]
    given += [ops.maximum(ops.moveaxis(y, 1, 2), 0.1), ops.one_hot(ops.argmax(y, axis=-1), 3)]
    given += [ops.power(ops.std(y, axis=(1, 2), keepdims=True), 2), ops.cast(y[:, 0], "int32")]
    computed = keras.Model(x, {f"of {i}": value for i, value in enumerate(given)})
    rows = (("config-branches", model), ("config-chain", plain), ("config-operations", computed))
    for name, made in rows:
        made.save_weights(SEEDS / f"{name}.weights.h5")
        (SEEDS / f"{name}.json").write_text(made.to_json())


def maps() -> None:
    lines = {
        "embed": "tokens.table",
        "rnn.weight_ih_l0[0:4]": "cell.w[4:8]",
        "rnn.weight_ih_l0[4:8]": "cell.w[0:4]",
        "rnn.weight_hh_l0.T": "cell.u",
        "rnn.bias_ih_l0 + rnn.bias_hh_l0": "cell.b",
        "rnn.weight_ih_l0_reverse": "back.w",
        "rnn.weight_hh_l0_reverse": "back.u",
        "rnn.bias_ih_l0_reverse": "back.b",
        "rnn.bias_hh_l0_reverse": "back.c",
        "fc.weight": "head.0.weight",
        "fc.bias": "head.0.bias",
    }
    (SEEDS / "zip-tagger.map.json").write_text(json.dumps(lines, indent=1))
    toml = "".join(f'"{one}" = "{other}"\n' for one, other in lines.items())
    (SEEDS / "tagger.map.toml").write_text(toml)


def targets() -> None:
    """What a target network has, as text and as a model; and a conversion, told by its report."""
    import keras

    shapes = [f"{name} {tuple(v.shape)} {v.dtype}" for name, v in Tagger().state_dict().items()]
    (SEEDS / "like.txt").write_text("\n".join(shapes))
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Embedding(4, 2),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            layers.LayerNormalization(),
            layers.Dense(1),
        ]
    )
    model.save(SEEDS / "like.keras")
    kinds = {"embed": "Embedding", "norm": "LayerNorm"}
    where = SEEDS / "restored.weights.h5"
    report = api.convert(SEEDS / "zip-tagger.pt", where, to="keras", kinds=kinds, force=True)
    (SEEDS / "restored.json").write_text(json.dumps(report.to_dict()))


if __name__ == "__main__":
    SEEDS.mkdir(exist_ok=True)
    for make in (
        torch_files,
        tar_file,
        mindspore_files,
        safetensors_files,
        hdf5_files,
        index_files,
        bundles,
        configurations,
        maps,
        targets,
    ):
        make()
