"""diff and roundtrip: what must be seen, down to a bit, and what must not be invented."""

import importlib.resources
import json

import ml_dtypes
import numpy as np
import pytest

import ckptconv
from ckptconv.errors import CkptconvError, ContainerError
from ckptconv.io.reader import Source
from ckptconv.tensors.tensor import ArrayTensor
from ckptconv.verification.diff import diff
from ckptconv.verification.difference import compare_arrays, compare_tensors
from ckptconv.verification.roundtrip import roundtrip
from tests.cli.test_cli import run

SCHEMA = json.loads(
    importlib.resources.files("ckptconv").joinpath("report.schema.json").read_text()
)


def valid(result):
    """Hold a result's JSON against the schema in the package; return it."""
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    return document


def values(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"weight_ih_l0": (20, 3), "weight_hh_l0": (20, 5), "bias_ih_l0": 20, "bias_hh_l0": 20}
    arrays = {f"lstm.{n}": rng.uniform(-1, 1, s).astype(np.float32) for n, s in shapes.items()}
    for name, shape in (("fc.weight", (2, 5)), ("fc.bias", 2)):
        arrays[name] = rng.uniform(-1, 1, shape).astype(np.float32)
    return arrays


def saved(path, arrays, to="torch"):
    ckptconv.save(ckptconv.from_state_dict(arrays, "torch"), path, to=to, force=True)
    return path


@pytest.mark.parametrize(
    ("one", "other", "unequal", "ulps"),
    [
        (1.0, np.nextafter(np.float32(1), np.float32(2)), 1, 1),
        (-0.0, 0.0, 0, 0),
        (np.float32(1e-45), np.float32(-1e-45), 1, 2),
        (1.0, np.nan, 1, None),
        (np.inf, 1.0, 1, None),
    ],
)
def test_one_value(one, other, unequal, ulps):
    a = np.arange(1, 7, dtype=np.float32)
    b = a.copy()
    a[4], b[4] = one, other
    found = compare_arrays(a, b)
    assert (found.elements, found.differing, found.unequal, found.max_ulp) == (6, 1, unequal, ulps)
    assert found.max_abs == (
        0 if not unequal else np.inf if ulps is None else abs(float(b[4]) - a[4])
    )


def test_nan_is_nan_with_the_same_bits_only():
    a = np.array([1, np.nan], np.float32)
    b = a.copy()
    assert compare_arrays(a, b).differing == 0
    b.view(np.uint32)[1] ^= 1
    found = compare_arrays(a, b)
    assert (found.differing, found.unequal) == (1, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint8, ml_dtypes.bfloat16])
def test_dtypes(dtype):
    a = np.arange(1, 9).astype(dtype)
    b = a.copy()
    b[3] += dtype(1)
    found = compare_arrays(a, b)
    assert (found.differing, found.max_abs, found.max_rel) == (1, 1.0, 0.2)


def test_blocks_find_the_last_of_many_values():
    a = np.arange(3_000_001, dtype=np.float32)
    b = a.copy()
    b[-1] += 1
    found = compare_tensors(ArrayTensor(a), ArrayTensor(b))
    assert (found.elements, found.differing, found.max_abs) == (len(a), 1, 1.0)


def test_gate_is_named(tmp_path):
    arrays = values()
    one = saved(tmp_path / "a.pt", arrays)
    arrays["lstm.weight_hh_l0"][11, 2] += 0.5
    other = saved(tmp_path / "b.pt", arrays)
    report = diff(one, other)
    (tensor,) = report.different
    assert (tensor.a, list(tensor.gates), tensor.verdict) == (
        "lstm.weight_hh_l0",
        ["g"],
        "differ in g",
    )
    assert tensor.gates["g"].differing == 1
    assert diff(one, other, atol=0.6).ok
    assert not diff(one, other, atol=0.4).ok
    assert valid(report)["tensors"][1]["gates"]["g"]["max_abs"] == pytest.approx(0.5)
    (table,) = report.tables()
    assert [row[0] for row in table[2]] == ["lstm.weight_hh_l0", "  gate g"]


@pytest.mark.parametrize("to", ["mindspore", "keras"])
def test_across_frameworks(tmp_path, to):
    """Through other names, axes, a sum of biases and, for Keras, another gate order."""
    arrays = values()
    gru = {k.replace("lstm", "gru"): v[:15] for k, v in values(1).items() if k.startswith("lstm")}
    source = saved(tmp_path / "a.pt", arrays | gru)
    target = tmp_path / {"mindspore": "a.ckpt", "keras": "a.h5"}[to]
    ckptconv.convert(source, target, to=to)
    assert diff(source, target).ok
    arrays["lstm.bias_hh_l0"][7] = np.nextafter(arrays["lstm.bias_hh_l0"][7], np.float32(9)) + 1e-6
    gru["gru.weight_hh_l0"][6, 1] += 1e-6
    found = diff(saved(tmp_path / "b.pt", arrays | gru), target).different
    assert [list(t.gates) for t in found] == [["f"], ["z"]]


def test_missing_added_and_shapes(tmp_path):
    arrays = values()
    one = saved(tmp_path / "a.pt", arrays)
    arrays["fc2.weight"] = arrays.pop("fc.weight")[:, :4]
    report = diff(one, saved(tmp_path / "b.pt", arrays))
    assert [t.verdict for t in report.different] == ["only in the first", "only in the second"]
    assert valid(report)["ok"] is False
    arrays["fc.weight"] = arrays.pop("fc2.weight")
    report = diff(one, saved(tmp_path / "c.pt", arrays))
    assert [t.verdict for t in report.different] == ["shapes differ"]


@pytest.mark.parametrize("to", ["torch", "mindspore"])
def test_what_a_conversion_dropped_or_filled_is_left_out_by_name(tmp_path, to):
    source, target = saved(tmp_path / "m.pt", values()), tmp_path / f"{to}.safetensors"
    shapes = {name: v.shape for name, v in values().items() if name.startswith("lstm")}
    like = {**shapes, "own.weight": (2, 7)}
    ckptconv.convert(source, target, to=to, drop=["fc"], like=like, fill={"own.weight": "ones"})
    alone = [t.verdict for t in diff(source, target).different]
    assert alone == ["only in the first", "only in the first", "only in the second"]
    command = ("diff", source, target, "--drop", "fc", "--target-drop", "own")
    out, _ = run(*command)
    assert out.startswith("4 of 4 tensors are the same")
    assert "m.pt: left out: fc.weight, fc.bias: dropped as fc" in out
    assert f"{to}.safetensors: left out: own.weight: dropped as own" in out
    document = valid(diff(source, target, drop=["fc"], target_drop=["own"]))
    assert sum("left out" in note for note in document["notes"]) == 3
    assert not diff(source, target, drop=["fc"]).ok
    _, error = run(*command[:3], "--target-drop", "nwo", code=1)
    assert "nwo: --target-drop: no such module or parameter" in error
    with pytest.raises(CkptconvError, match="drop: a text where a list of texts is meant"):
        diff(source, target, drop="fc")


def test_dtype_is_a_difference_and_named(tmp_path):
    source = saved(tmp_path / "a.pt", values())
    ckptconv.convert(source, tmp_path / "a.ckpt", to="mindspore", dtype="float16")
    report = diff(source, tmp_path / "a.ckpt")
    assert {t.verdict for t in report.tensors} == {"rounded"}
    assert not report.ok


@pytest.mark.parametrize("via", ["mindspore", "keras", "torch"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_round_trip(tmp_path, via, suffix):
    arrays = values()
    source = saved(tmp_path / f"a{suffix}", arrays)
    report = roundtrip(source, via=via)
    # What Keras holds as a sum does not come back by itself.
    assert [t.a for t in report.different] == (
        ["lstm.bias_ih_l0", "lstm.bias_hh_l0"] if via == "keras" else []
    )
    assert roundtrip(source, via=via, report=tmp_path / "r.json").ok
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source.name, "r.json"])


def test_round_trip_of_a_gru_without_biases(tmp_path):
    arrays = {k.replace("lstm", "gru"): v[:15] for k, v in values().items() if "weight_" in k}
    source = saved(tmp_path / "a.pt", arrays)
    assert roundtrip(source, via="keras").ok


def test_round_trip_of_what_only_the_user_knows(tmp_path):
    state = {"m.conv.weight": np.ones((4, 4, 3), "f4"), "m.conv.bias": np.arange(4, dtype="f4")}
    gru = {k.replace("lstm", "m.gru"): v[:15] for k, v in values().items() if "weight_" in k}
    kinds = {"m.conv": "Conv1d"}
    for via in ("mindspore", "keras"):
        assert roundtrip(saved(tmp_path / "a.pt", state | gru), via=via, kinds=kinds).ok


def test_restored_only_where_the_sum_is_the_same(tmp_path):
    arrays = values()
    source, report = saved(tmp_path / "a.pt", arrays), tmp_path / "r.json"
    roundtrip(source, via="keras", report=report)
    keras = tmp_path / "a.h5"
    ckptconv.convert(source, keras, to="keras")
    graph = ckptconv.load(keras, restore=report)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        assert np.array_equal(graph["lstm"].params[name].numpy(), arrays[f"lstm.{name}"])
    ckptconv.save(graph, tmp_path / "back.pt", to="torch")
    assert diff(source, tmp_path / "back.pt").ok
    arrays["lstm.bias_ih_l0"][0] += 1
    ckptconv.convert(saved(tmp_path / "b.pt", arrays), tmp_path / "b.h5", to="keras")
    trained = ckptconv.load(tmp_path / "b.h5", restore=report)
    assert [note.partition(": ")[2] for note in trained.notes] == [
        "not a sum that the report tells of; left as it is"
    ]
    found = [trained["lstm"].params[name].numpy() for name in ("bias_ih_l0", "bias_hh_l0")]
    assert np.array_equal(sum(found), arrays["lstm.bias_ih_l0"] + arrays["lstm.bias_hh_l0"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"restore": 3}',
        '{"restore": [{}]}',
        "[" * 100_000,
        '{"restore": [[]]}',
        '{"restore": [{"target": "a", "sha256": "", "dtype": "int8", "b_ih": "", "b_hh": ""}]}',
        '{"restore": [{"target": "a", "sha256": "", "dtype": "float32", "b_ih": "=", "b_hh": ""}]}',
    ],
)
def test_bad_report(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    source = saved(tmp_path / "a.pt", values())
    with pytest.raises(CkptconvError, match=r"r.json: .*not a (report|JSON)"):
        ckptconv.load(source, restore=path)


def test_conversion_report_fits_the_schema(tmp_path):
    source = saved(tmp_path / "a.pt", values())
    for to, name in (("mindspore", "a.ckpt"), ("keras", "a.h5"), ("torch", "b.pt")):
        assert valid(ckptconv.convert(source, tmp_path / name, to=to))["written"] is True


def large(tmp_path):
    """Return two files of 20 MiB, enough for threads, and the name of one of their tensors."""
    rng = np.random.default_rng(2)
    arrays = {f"fc{i}.weight": rng.standard_normal((512, 1280), np.float32) for i in range(8)}
    return [saved(tmp_path / name, arrays) for name in ("a.pt", "b.pt")]


def test_each_file_is_read_once(tmp_path, monkeypatch):
    """Also where the archive keeps checksums, which are held against the same reading."""
    one, other = large(tmp_path)
    kinds = {f"fc{i}": "Linear" for i in range(8)}
    ckptconv.convert(one, tmp_path / "a.ckpt", to="mindspore", kinds=kinds)
    total = []
    read = Source.read_into

    def counting(self, buffer, offset):
        total.append(len(buffer))
        read(self, buffer, offset)

    monkeypatch.setattr(Source, "read_into", counting)
    for pair in ((one, other), (one, tmp_path / "a.ckpt")):
        total.clear()
        assert diff(*pair).ok
        assert sum(total) < 1.05 * sum(path.stat().st_size for path in pair)


def test_damage_is_seen_on_the_way(tmp_path):
    one, other = large(tmp_path)
    data = bytearray(other.read_bytes())
    data[len(data) // 2] ^= 1
    other.write_bytes(data)
    with pytest.raises(ContainerError, match=r"damaged.*CRC-32"):
        diff(one, other)
