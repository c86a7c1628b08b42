"""Keras weights in HDF5: h5py is the oracle for bytes, Keras for what it wrote and reads."""

from __future__ import annotations

import contextlib
import json
import os
import random
import zipfile
from functools import partial

import h5py
import ml_dtypes
import numpy as np
import pytest

from tests.conftest import ROOT

os.environ.setdefault("KERAS_BACKEND", "torch")

from ckptconv import formats
from ckptconv.checkpoint import Checkpoint, KerasFacts
from ckptconv.errors import CkptconvError, ContainerError
from ckptconv.formats.keras import archive as keras_zip
from ckptconv.formats.keras import h5 as hdf5
from ckptconv.formats.keras import sharded as keras_sharded
from ckptconv.io.reader import Source
from ckptconv.tensors.tensor import ArrayTensor

REAL = ROOT.parent / "shared" / "real" / "keras"


@pytest.fixture(scope="module")
def model():
    keras = pytest.importorskip("keras")
    layers = keras.layers
    keras.utils.clear_session()  # automatic names begin anew
    keras.utils.set_random_seed(7)
    built = keras.Sequential(
        [
            layers.Input((None,)),
            layers.Embedding(11, 5),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.LSTM(4, return_sequences=True),
            layers.GRU(3),
            layers.Dropout(0.3, seed=1),
            layers.BatchNormalization(),
            layers.Dense(2),
        ],
        name="m",
    )
    rng = np.random.default_rng(7)
    built.set_weights([rng.uniform(0.1, 1, w.shape).astype("f4") for w in built.weights])
    built.compile("adam", "mse")
    built.optimizer.build(built.trainable_variables)
    return built


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / "m.h5")
    model.save(folder / "m.keras")
    model.save_weights(folder / "m.weights.h5")
    model.save_weights(folder / "s.weights.json", max_shard_size=0.000001)
    return folder


def h5(path, build, **options):
    with h5py.File(path, "w", **options) as file:
        build(file)
    return path


def legacy(path, weights, **options):
    """Write a legacy file of one layer; each weight is an array or create_dataset's arguments."""

    def build(file):
        file.attrs["layer_names"] = np.array([b"a"])
        group = file.create_group("a")
        group.attrs["weight_names"] = np.array([n.encode() for n in weights], "S")
        for name, value in weights.items():
            group.create_dataset(name, **(value if isinstance(value, dict) else {"data": value}))

    return h5(path, build, **options)


def values(checkpoint):
    return {name: tensor.numpy() for name, tensor in checkpoint.tensors.items()}


def same(found, expected):
    assert list(found) == list(expected)
    for name in found:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])


# --- what Keras writes


def test_legacy_full_model(files, model):
    checkpoint = formats.read(files / "m.h5")
    facts = checkpoint.facts
    assert checkpoint.format == "hdf5"
    assert facts.layout == "legacy"
    assert facts.backend == "torch"
    assert list(facts.weights) == [
        *(layer.name for layer in model.layers),
        "top_level_model_weights",
    ]
    assert facts.weights["dropout"] == ()
    assert facts.config["class_name"] == "Sequential"
    weights = [np.asarray(w.numpy()) for layer in model.layers for w in layer.weights]
    for (name, found), expected in zip(values(checkpoint).items(), weights, strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert next(iter(checkpoint.tensors)) == "embedding/m/embedding/embeddings"
    assert set(checkpoint.omitted.values()) == {"optimizer state"}
    assert len(checkpoint.omitted) == len(model.optimizer.variables)


@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras", "s.weights.json"])
def test_weights_layouts(files, model, name):
    checkpoint = formats.read(files / name)
    assert checkpoint.facts.layout == "weights.h5"
    assert checkpoint.facts.names["layers/lstm/cell"] == "lstm_cell"
    assert checkpoint.facts.names["layers/lstm"] == model.layers[2].name
    found = values(checkpoint)
    for path, layer in (("lstm/cell", 2), ("gru/cell", 3), ("batch_normalization", 5)):
        for i, weight in enumerate(model.layers[layer].weights):
            np.testing.assert_array_equal(found[f"layers/{path}/vars/{i}"], weight.numpy())
    assert len(found) == len(model.weights)
    rules = list(checkpoint.omitted.values())
    assert rules.count("optimizer state") == len(model.optimizer.variables)
    assert set(rules) <= {"optimizer state", "state of a random generator"}


def test_keras_zip_has_its_configuration(files):
    checkpoint = formats.read(files / "m.keras")
    assert checkpoint.format == "keras-zip"
    assert checkpoint.facts.config["config"]["name"] == "m"
    assert checkpoint.facts.keras_version.startswith("3.")


def test_damaged_keras_zip_gives_no_value(files, tmp_path):
    path = tmp_path / "x.keras"
    data = bytearray((files / "m.keras").read_bytes())
    with zipfile.ZipFile(files / "m.keras") as archive, archive.open("model.weights.h5") as member:
        at = data.find(member.read(64)) + 5000
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContainerError, match="CRC"):
        values(formats.read(path))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real Keras files are not here")
def test_real_files():
    paths = [p for p in REAL.glob("*5") if "inputs_and_outputs" not in p.name]
    assert len(paths) > 10
    for path in paths:
        checkpoint = formats.read(path)
        expected = {}
        with h5py.File(path) as file:
            root = file.get("model_weights", file)
            for layer in root.attrs["layer_names"]:
                layer = layer.decode() if isinstance(layer, bytes) else layer
                for name in root[layer].attrs["weight_names"]:
                    name = name.decode() if isinstance(name, bytes) else name
                    expected[f"{layer}/{name}"] = root[layer][name][()]
        same(values(checkpoint), expected)


@pytest.mark.skipif(not REAL.is_dir(), reason="the real Keras files are not here")
def test_hdf5_of_something_else():
    path = REAL / "dl4j__simple_flatten_lstm_tf_keras_2_inputs_and_outputs.h5"
    with pytest.raises(ContainerError, match="not weights of a Keras model"):
        formats.read(path)


# --- older layouts, by hand


def test_keras_1_names_and_split_attributes(tmp_path):
    layers = [f"layer_{i:05d}_{'x' * 20}" for i in range(3000)]

    def build(file):
        for i, part in enumerate(np.array_split(np.array([s.encode() for s in layers]), 2)):
            file.attrs[f"layer_names{i}"] = part
        for layer in layers:
            file.create_group(layer).attrs["weight_names"] = []
        file[layers[0]].attrs["weight_names"] = [b"w_W_i"]
        file[layers[0]].create_dataset("w_W_i", data=np.arange(6.0).reshape(2, 3))

    checkpoint = formats.read(h5(tmp_path / "m.h5", build))
    assert list(checkpoint.facts.weights) == layers
    same(values(checkpoint), {f"{layers[0]}/w_W_i": np.arange(6.0).reshape(2, 3)})


def test_tensorflow_2_12_root_and_natural_order(tmp_path):
    def build(file):
        for i in (10, 9, 0):
            name = f"_layer_checkpoint_dependencies/lstm_{i}/cell/vars/0"
            file[name] = np.full((2, 8), i + 1, "f4")
        file["metrics/mean/vars/0"] = np.float32(1)
        file["optimizer/vars/0"] = np.int64(1)
        file["layers/dropout/seed_generator/vars/0"] = np.ones(2, "u4")
        file.create_group("vars")

    checkpoint = formats.read(h5(tmp_path / "m.weights.h5", build))
    assert list(checkpoint.tensors) == [f"lstm_{i}/cell/vars/0" for i in (0, 9, 10)]
    assert list(checkpoint.omitted.values()) == [
        "state of a random generator",
        "state of a metric",
        "optimizer state",
    ]


def test_nested_layer_names_and_unlisted_datasets(tmp_path):
    def build(file):
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = ["outer/inner"]
        group.create_group("outer/inner").attrs["weight_names"] = ["rnn_3/kernel:0"]
        group["outer/inner/rnn_3/kernel:0"] = np.arange(3, dtype="f4")
        group["outer/inner/stray"] = np.arange(3, dtype="f4")

    checkpoint = formats.read(h5(tmp_path / "m.h5", build))
    assert list(checkpoint.tensors) == ["outer/inner/rnn_3/kernel:0"]
    assert checkpoint.omitted == {"model_weights/outer/inner/stray": "not in any @weight_names"}


# --- how values are stored


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (3, 4)},
        {"chunks": (3, 4), "compression": "gzip"},
        {"chunks": (4, 5), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (7, 2), "compression": "lzf", "shuffle": True},
        {"chunks": (2, 2), "fletcher32": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2", "<i8", "|u1"])
@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108")], ids=["earliest", "v108"])
def test_storage(tmp_path, options, dtype, libver):
    array = np.repeat(np.arange(35), 3).reshape(7, 15).astype(dtype)
    path = legacy(tmp_path / "m.h5", {"w": {"data": array, **options}}, libver=libver)
    tensor = formats.read(path).tensors["a/w"]
    assert tensor.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(tensor.numpy(), array)
    np.testing.assert_array_equal(tensor.read(((2, 5), (3, 11))), array[2:5, 3:11])
    assert (tensor.extents() is None) == (bool(options) or dtype.startswith(">"))


def test_lzf_of_what_compresses_badly_and_well(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"r": rng.bytes(5000), "z": bytes(5000), "m": rng.bytes(700) * 7 + bytes(100)}
    arrays = {name: np.frombuffer(raw, "u1") for name, raw in arrays.items()}
    weights = {n: {"data": a, "chunks": (1000,), "compression": "lzf"} for n, a in arrays.items()}
    found = values(formats.read(legacy(tmp_path / "m.h5", weights)))
    same(found, {f"a/{name}": array for name, array in arrays.items()})


def test_scalars_empty_arrays_compact_and_bfloat16(tmp_path):
    bfloat16 = np.arange(1, 7, dtype=ml_dtypes.bfloat16).reshape(2, 3)

    def build(file):
        file.create_group("vars")
        file["layers/a/vars/0"] = np.float32(3)
        file["layers/a/vars/1"] = np.empty((0, 3), "f4")
        file.create_dataset("layers/a/vars/2", data=bfloat16.view("V2"))
        file["layers/a/vars/2"].attrs["dtype"] = "bfloat16"
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((3,))
        kind = h5py.h5t.NATIVE_DOUBLE
        made = h5py.h5d.create(file["layers/a/vars"].id, b"3", kind, space, creation)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(3.0))

    found = values(formats.read(h5(tmp_path / "m.h5", build, userblock_size=1024)))
    expected = [np.float32(3), np.empty((0, 3), "f4"), bfloat16, np.arange(3.0)]
    same(found, {f"layers/a/vars/{i}": np.asarray(e) for i, e in enumerate(expected)})


# --- hostile files


def external_link(file):
    file["a/w"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file):
    file["a/w"] = h5py.SoftLink("/a/w")


def hard_cycle(file):
    file["a/w"] = file["a"]


def external_storage(file):
    file["a"].create_dataset("w", (64,), "u1", external=[("/etc/passwd", 0, 64)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file["a"].create_virtual_dataset("w", layout)


def huge_chunked(file):
    file["a"].create_dataset("w", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))


def huge_contiguous(file):
    file["a"].create_dataset("w", (1 << 20, 1 << 20), "f4")


def null_space(file):
    file["a"].create_dataset("w", data=h5py.Empty("f4"))


def text_values(file):
    file["a"].create_dataset("w", data=[b"abc", b"d"])


def compound_values(file):
    file["a"].create_dataset("w", data=np.zeros(3, [("x", "f4"), ("y", "i4")]))


def enumerated_values(file):
    file["a"].create_dataset("w", data=np.array([True, False]))


def unknown_filter(file):
    file["a"].create_dataset("w", data=np.zeros(8, "i4"), chunks=(4,), scaleoffset=2)


def group_instead(file):
    file["a"].create_group("w")


def missing(_):
    pass


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (external_link, "a/w: links are not followed.*external link"),
        (soft_link, "a/w: links are not followed.*soft link"),
        (hard_cycle, "contains itself"),
        (external_storage, "a/w: .*external storage"),
        (virtual, "a/w: .*virtual"),
        (huge_chunked, "a/w: .*expected 1048576 chunks, found 0"),
        (huge_contiguous, "a/w: .*never written"),
        (null_space, "a/w: .*null dataspace"),
        (text_values, "a/w: .*found .*variable-length"),
        (compound_values, "a/w: .*compound"),
        (enumerated_values, "a/w: .*enumeration"),
        (unknown_filter, r"a/w: .*expected filters among \[1, 2, 3, 32000\], found \[6\]"),
        (group_instead, "a/w: .*expected one dataset, found none"),
        (missing, "a/w: .*expected one dataset, found none"),
    ],
)
@pytest.mark.parametrize("libver", ["earliest", ("v108", "v108")], ids=["earliest", "v108"])
def test_attacks(tmp_path, build, expected, libver):
    libver = libver if build is not virtual else "earliest"  # which stands for the latest there

    def both(file):
        file.attrs["layer_names"] = ["a"]
        file.create_group("a").attrs["weight_names"] = ["w"]
        build(file)

    with pytest.raises(ContainerError, match=expected):
        formats.read(h5(tmp_path / "m.h5", both, libver=libver))


def test_later_formats_are_refused_by_name(tmp_path):
    """Keras writes the earliest format; what h5py writes on request needs other structures."""

    def build(file):
        file.create_group("vars")
        file.create_dataset("layers/lstm/vars/0", data=np.ones(9), chunks=(2,))

    with pytest.raises(ContainerError, match="indexed in a way that is not read"):
        formats.read(h5(tmp_path / "m.h5", build, libver="latest"))


@pytest.mark.parametrize("count", [9, 40, 300])
def test_dense_storage(tmp_path, count):
    """Nine members of which one's name is not ASCII stand in a fractal heap, as in Keras's own."""
    arrays = {f"größe_{i}": np.arange(i + 1.0) for i in range(count)}

    def build(file):
        file.create_group("vars")
        for name, array in arrays.items():
            file.create_group(name).create_dataset("vars/0", data=array)
            if count < 50:
                file["vars"].attrs[name] = "text"

    for libver in ("earliest", ("v108", "v108")):
        read = formats.read(h5(tmp_path / f"{libver[0]}.h5", build, libver=libver))
        found = {name.split("/")[0]: tensor.numpy() for name, tensor in read.tensors.items()}
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_damaged_dense_storage_is_one_error(tmp_path):
    def build(file):
        file.create_group("vars")
        for i in range(20):
            file.create_group(f"größe_{i}").create_dataset("vars/0", data=np.ones(2))

    path = h5(tmp_path / "m.h5", build)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(3)
    places = [data.index(mark) + 4 for mark in (b"FRHP", b"BTHD", b"BTLF", b"FHDB")]
    for at in [place + int(n) for place in places for n in rng.integers(0, 60, 12)]:
        changed = data.copy()
        changed[at] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        with contextlib.suppress(ContainerError):
            formats.read(path)


def test_declared_size_beyond_the_file(tmp_path):
    path = legacy(tmp_path / "m.h5", {"w": np.arange(1.0, 5.0)})
    data = path.read_bytes()
    size = (4).to_bytes(8, "little") * 2  # of the dataspace: now and at most
    assert size in data
    path.write_bytes(data.replace(size, (1 << 40).to_bytes(8, "little") * 2))
    with pytest.raises(ContainerError, match=r"a/w: .*expected 8796093022208 bytes, found 32"):
        formats.read(path)


def test_broken_checksum_is_noticed(tmp_path):
    array = np.arange(1000, 1064, dtype="<u4")
    path = legacy(tmp_path / "m.h5", {"w": {"data": array, "chunks": (64,), "fletcher32": True}})
    data = path.read_bytes()
    at = data.index(array.tobytes())
    path.write_bytes(data[: at + 8] + b"\xff" + data[at + 9 :])
    with pytest.raises(ContainerError, match=r"a/w: .*wrong checksum"):
        values(formats.read(path))


@pytest.mark.parametrize(
    "config", [b"not json", b"[1]", b'{"a":' * 101 + b"1" + b"}" * 101, b"[" * 50000]
)
def test_strange_model_config(tmp_path, config):
    path = legacy(tmp_path / "m.h5", {"w": np.ones(2)})
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = config
    with pytest.raises(ContainerError, match="model_config"):
        formats.read(path)


def test_truncated_at_every_hundredth_byte(files):
    data = (files / "m.weights.h5").read_bytes()
    for size in range(0, len(data), 100):
        path = files / "truncated.h5"
        path.write_bytes(data[:size])
        with pytest.raises(ContainerError):
            formats.read(path)


@pytest.mark.parametrize("name", ["m.h5", "m.weights.h5", "chunked.h5"])
def test_mutated_bytes(files, name):
    """libhdf5 crashes or hangs on about one in a thousand of such files."""
    if name == "chunked.h5":
        options = {"chunks": (3, 4), "compression": "gzip", "shuffle": True}
        legacy(files / name, {"w": {"data": np.arange(105.0).reshape(7, 15), **options}})
    data = (files / name).read_bytes()
    used = [i for i, byte in enumerate(data) if byte]
    path = files / "mutated.h5"
    outcomes, messages = set(), []
    for seed in range(300):
        rng = random.Random(seed)
        mutated = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 5))):
            mutated[rng.choice(used)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path.write_bytes(mutated)
        try:
            values(hdf5.read(Source(path)))
            outcomes.add("read")
        except CkptconvError as error:
            outcomes.add("refused")
            messages.append(str(error))
    assert all(message.startswith(str(path)) for message in messages)
    assert outcomes == {"read", "refused"}


# --- shards


def index(path, mapping):
    path.write_text(json.dumps({"metadata": {}, "weight_map": mapping}))
    return path


@pytest.mark.parametrize("name", ["../m.weights.h5", "/m.weights.h5", "a\\m.weights.h5", 3])
def test_shards_outside_the_folder(files, name):
    path = index(files / "x.weights.json", {"/layers/dense/vars": name})
    with pytest.raises(ContainerError, match="bare name"):
        keras_sharded.read(Source(path))


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


def test_sniffers_know_their_own(files):
    sources = {name: Source(files / name) for name in ("m.h5", "m.keras", "s.weights.json")}
    for module, own in ((hdf5, "m.h5"), (keras_zip, "m.keras"), (keras_sharded, "s.weights.json")):
        assert [name for name, source in sources.items() if module.sniff(source)] == [own]


# --- writing


@pytest.mark.parametrize("name", ["m.h5", "m.weights.h5"])
def test_keras_loads_what_is_written(files, model, name):
    import keras

    checkpoint = formats.read(files / name)
    formats.write(checkpoint, files / f"o_{name}", force=True)
    again = formats.read(files / f"o_{name}")
    same(values(again), values(checkpoint))
    other = keras.models.clone_model(model)
    other.set_weights([np.zeros(w.shape) for w in other.weights])
    other.load_weights(files / f"o_{name}")
    for weight, expected in zip(other.weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), expected.numpy())


def test_same_bytes_each_time(files):
    checkpoint = formats.read(files / "m.h5")
    for name in ("1.h5", "2.h5"):
        formats.write(checkpoint, files / name, force=True)
    assert (files / "1.h5").read_bytes() == (files / "2.h5").read_bytes()
    with h5py.File(files / "1.h5") as file:
        dataset = file["dense/m/dense/kernel"]
        assert h5py.h5g.get_objinfo(dataset.id).mtime == 0


def test_long_lists_are_split_as_keras_does(tmp_path):
    from keras.src.legacy.saving import legacy_h5_format

    layers = [f"layer_{i}_{'y' * 60}" for i in range(2000)]
    tensors = {f"{layer}/w": ArrayTensor(np.float32([i])) for i, layer in enumerate(layers)}
    facts = KerasFacts("legacy", weights=dict.fromkeys(layers, ("w",)))
    checkpoint = Checkpoint("hdf5", tensors, facts=facts)
    formats.write(checkpoint, tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file, h5py.File(tmp_path / "k.h5", "w") as theirs:
        assert legacy_h5_format.load_attributes_from_hdf5_group(file, "layer_names") == layers
        encoded = [layer.encode() for layer in layers]
        legacy_h5_format.save_attributes_to_hdf5_group(theirs, "layer_names", encoded)
        assert {k for k in file.attrs if k.startswith("layer_names")} == set(theirs.attrs)
    same(values(formats.read(tmp_path / "m.h5")), values(checkpoint))


@pytest.mark.parametrize("layout", ["legacy", "weights.h5"])
def test_dtypes_written(tmp_path, layout):
    arrays = [np.arange(1, 5, dtype=d) for d in ("f2", "f4", "f8", "i4", ml_dtypes.bfloat16)]
    arrays += [np.float32(2), np.empty((0, 2), "f4")]
    prefix = "a/w" if layout == "legacy" else "layers/a/vars/"
    names = [f"{prefix}{i}" for i in range(len(arrays))]
    tensors = {n: ArrayTensor(np.asarray(a)) for n, a in zip(names, arrays, strict=True)}
    weights = {"a": tuple(n.removeprefix("a/") for n in names)}
    facts = KerasFacts(layout, weights=weights, names={"layers/a": "mine"})
    checkpoint = Checkpoint("hdf5", tensors, facts=facts)
    formats.write(checkpoint, tmp_path / "m.h5")
    again = formats.read(tmp_path / "m.h5")
    same(values(again), values(checkpoint))
    with h5py.File(tmp_path / "m.h5") as file:
        np.testing.assert_array_equal(file[names[1]][()], arrays[1])
        assert file[names[4]].attrs["dtype"] == "bfloat16"


@pytest.mark.parametrize("dtype", [np.complex64, ml_dtypes.float8_e5m2])
def test_dtypes_not_written(tmp_path, dtype):
    tensors = {"layers/a/vars/0": ArrayTensor(np.ones(3, dtype))}
    checkpoint = Checkpoint("hdf5", tensors, facts=KerasFacts("weights.h5"))
    with pytest.raises(ContainerError, match="layers/a/vars/0: cannot stand in an HDF5 file"):
        formats.write(checkpoint, tmp_path / "m.h5")
    assert not list(tmp_path.iterdir())


def test_a_tensor_of_no_layer_is_not_written(tmp_path):
    checkpoint = Checkpoint("hdf5", {"x": ArrayTensor(np.ones(2))}, facts=KerasFacts("legacy"))
    with pytest.raises(ContainerError, match="x: belongs to no layer"):
        formats.write(checkpoint, tmp_path / "m.h5")
