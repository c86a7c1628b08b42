"""Networks of Keras 1, whose files are made here as it wrote them, held against its equations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest

import ckptconv
from tests.network.written import close, run_mindspore, run_torch, written

Arrays = list[tuple[str, np.ndarray]]
RUN = {"torch": run_torch, "mindspore": run_mindspore}
RNG = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype("f4")


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def saved(path, layers, weights: dict[str, Arrays]):
    """Write ``model.save`` of a Sequential of Keras 1.2."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        described = {"class_name": "Sequential", "config": layers}
        file.attrs["model_config"] = json.dumps(described).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, values in weights.items():
            own = group.create_group(name)
            own.attrs["weight_names"] = np.array([key.encode() for key, _ in values], "S")
            for key, value in values:
                own.create_dataset(key, data=value)
    return path


def dense(name: str, i: int, o: int, **more: Any) -> tuple[dict[str, Any], Arrays]:
    values = [(f"{name}_W", draw(i, o)), (f"{name}_b", draw(o))]
    settings = {"output_dim": o, "activation": "linear", "bias": True, "input_dim": i, **more}
    return layer("Dense", name, **settings), values


def applied(values: Arrays, x: np.ndarray) -> np.ndarray:
    return x @ values[0][1] + values[1][1]


def pooled(by: Callable[..., np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: by(x.reshape(*x.shape[:2], 2, 2, 3, 2), axis=(3, 5))


WINDOW = {"pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid"}
FRAMES: dict[str, tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = {
    # class → its settings, what it computes of (batch, channels, rows, columns)
    "MaxPooling2D": (WINDOW, pooled(np.max)),
    "AveragePooling2D": (WINDOW, pooled(np.mean)),
    "GlobalMaxPooling2D": ({}, lambda x: x.max((2, 3), keepdims=True)),
    "GlobalAveragePooling2D": ({}, lambda x: x.mean((2, 3), keepdims=True)),
    "UpSampling2D": ({"size": [2, 3]}, lambda x: x.repeat(2, 2).repeat(3, 3)),
    "ZeroPadding2D": ({"padding": [1, 2]}, lambda x: np.pad(x, [(0, 0)] * 2 + [(1, 1), (2, 2)])),
    "Cropping2D": ({"cropping": [[1, 1], [2, 1]]}, lambda x: x[:, :, 1:-1, 2:-1]),
}


@pytest.mark.parametrize("target", RUN)
@pytest.mark.parametrize("order", ["th", "tf"])
@pytest.mark.parametrize("kind", FRAMES)
def test_layers_of_images_know_where_keras_1_has_the_channels(kind, order, target, tmp_path):
    settings, rule = FRAMES[kind]
    given = draw(2, 3, 4, 6)
    found = rule(given)
    x = given if order == "th" else np.moveaxis(given, 1, -1)
    flat = (found if order == "th" else np.moveaxis(found, 1, -1)).reshape(2, -1)
    first = layer(kind, "p", batch_input_shape=[None, *x.shape[1:]], dim_ordering=order, **settings)
    rest = [] if kind.startswith("Global") else [layer("Flatten", "f")]
    head, values = dense("d", flat.shape[1], 2)
    path = saved(tmp_path / "m.h5", [first, *rest, head], {"p": [], "f": [], "d": values})
    module, weights, _ = written(path, target, tmp_path)
    close(RUN[target](module, weights, [np.ascontiguousarray(x)]), [applied(values, flat)], 2e-5)


MODES: dict[str, Callable[[list[np.ndarray]], np.ndarray]] = {
    "sum": sum,
    "mul": lambda rows: np.prod(rows, 0),
    "ave": lambda rows: sum(rows) / len(rows),
    "max": np.maximum.reduce,
    "concat": lambda rows: np.concatenate(rows, -1),
}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": [*layers]}


def merge(name: str, mode: str, *branches: dict[str, Any]) -> dict[str, Any]:
    axis = {"concat_axis": -1, "dot_axes": -1, "mode_type": "raw"}
    return layer("Merge", name, layers=[*branches], mode=mode, **axis)


@pytest.mark.parametrize("target", RUN)
@pytest.mark.parametrize("mode", MODES)
def test_a_sequential_that_begins_with_merge_has_an_input_for_each_branch(mode, target, tmp_path):
    branches = [dense(n, 3, 4, batch_input_shape=[None, 3]) for n in "abc"]
    (first, *_), (second, *_), (third, *_) = branches
    inner = sequential(merge("in", "sum", sequential(first), sequential(second)))
    outer = merge("out", mode, inner, sequential(third))
    head, values = dense("d", 8 if mode == "concat" else 4, 2)
    held = {"a": branches[0][1], "b": branches[1][1], "c": branches[2][1], "d": values}
    path = saved(tmp_path / "m.h5", [outer, head], held)
    given = [draw(5, 3) for _ in "abc"]
    a, b, c = (applied(held[name], x) for name, x in zip("abc", given, strict=True))
    module, weights, inputs = written(path, target, tmp_path)
    assert inputs == ["a_input", "b_input", "c_input"]
    close(RUN[target](module, weights, given), [applied(values, MODES[mode]([a + b, c]))], 2e-5)
    report = ckptconv.convert(path, tmp_path / "alone.pt", to="torch")
    assert [entry.path for entry in report.layers] == ["a", "b", "c", "d"]


def test_a_branch_that_is_shared_is_refused(tmp_path):
    first, held = dense("a", 3, 4, batch_input_shape=[None, 3])
    both = merge("m", "sum", sequential(first), sequential(first))
    path = saved(tmp_path / "m.h5", [both, dense("d", 4, 2)[0]], {"a": held})
    with pytest.raises(ckptconv.CkptconvError):
        written(path, "torch", tmp_path)


@pytest.mark.parametrize(
    "layers",
    [[], [3], [{"class_name": "Dense"}], [{"class_name": [], "config": {"name": []}}]],
    ids=str,
)
def test_damaged_branches_are_refused(layers, tmp_path):
    broken = merge("m", "sum", sequential(*layers), sequential(*layers))
    path = saved(tmp_path / "m.h5", [broken], {"a": dense("a", 3, 4)[1]})
    with pytest.raises(ckptconv.CkptconvError):
        written(path, "torch", tmp_path)


@pytest.mark.parametrize("network", [False, True])
@pytest.mark.parametrize("mode", [1, 2])
def test_norms_by_what_they_are_given_are_refused(mode, network, tmp_path):
    """Weights alone of mode 2 were taken for a BatchNorm's, which norms by its statistics."""
    names = ["gamma", "beta", "running_mean", "running_std"][: 2 if mode == 1 else 4]
    first = layer("BatchNormalization", "n", mode=mode, axis=-1, batch_input_shape=[None, 4])
    held = [(f"n_{name}", np.abs(draw(4)) + 0.5) for name in names]
    path = saved(tmp_path / "m.h5", [first], {"n": held})
    more = {"network": tmp_path / "net.py"} if network else {}
    with pytest.raises(ckptconv.LossyError, match=f"mode={mode} of BatchNormalization"):
        ckptconv.convert(path, tmp_path / "m.pt", to="torch", **more)


MORE = {
    "highway_1": {"W": (4, 4), "W_carry": (4, 4), "b": (4,), "b_carry": (4,)},
    "attention_1": {"W": (4, 4), "b": (4,), "u": (4,)},
    "parametricsoftplus_1": {"alphas": (4,), "betas": (4,)},
}


@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("name", MORE)
def test_what_holds_more_than_a_layer_is_none(name, described, tmp_path):
    """A Highway was printed as a Dense, and its second kernel stood beside it."""
    held = [(f"{name}_{leaf}", draw(*shape)) for leaf, shape in MORE[name].items()]
    first = layer("Own", name, batch_input_shape=[None, 4])
    path = saved(tmp_path / "m.h5", [first], {name: held})
    if not described:
        with h5py.File(path, "r+") as file:
            del file.attrs["model_config"]
    report = ckptconv.convert(path, tmp_path / "m.pt", to="torch")
    assert not [entry.constructor for entry in report.layers if entry.constructor]
    assert len(report.layers) == len(held)
    assert all(entry.path.rpartition(".")[0] == name for entry in report.layers)
