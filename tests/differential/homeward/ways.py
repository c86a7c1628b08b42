"""The ways of changing a network while it is converted, drawn from the report of a conversion."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from ckptconv.report import LayerEntry, Report

Options = dict[str, Any]
_INNER = ("bn2d", "out_proj")
"""What layers call parts of their own."""
_STACKED = ("LSTM", "GRU", "RNN")


def _paths(report: Report) -> list[str]:
    return list(dict.fromkeys(layer.path for layer in report.layers if layer.path))


def _prefixed(_: Report, rng: Random) -> Options:
    return {"rename": [("^", rng.choice(["net.", "model.", "x"]))]}


def _renamed(report: Report, rng: Random) -> Options:
    path = rng.choice(_paths(report) or [""])
    word = path.rpartition(".")[2]
    return {"rename": [(f"(^|[.]){word}($|[.])", r"\1other\2")]} if word else {}


def _moved(report: Report, rng: Random) -> Options:
    paths = _paths(report)
    return {"map": {rng.choice(paths): "elsewhere.inside"}} if paths else {}


def _cycled(report: Report, rng: Random) -> Options:
    paths = [layer.path for layer in report.layers if layer.path and layer.kind != "Parameter"]
    rng.shuffle(paths)
    return {"map": dict(zip(paths, [*paths[1:], *paths[:1]], strict=True))} if paths[1:] else {}


def _by_parameter(report: Report, rng: Random) -> Options:
    plain = [x for x in report.layers if x.kind == "Linear" and x.path]
    if not plain:
        return {}
    layer = rng.choice(plain)
    names = [name for tensor in layer.tensors for name in tensor.sources]
    ends = ("weight", "bias")
    entries = {n: f"w{k}" for k, n in enumerate(names) if n.rpartition(".")[2] in ends}
    return {"map": {f"{layer.path}.{n.rpartition('.')[2]}": new for n, new in entries.items()}}


def _sliced(report: Report, rng: Random) -> Options:
    plain = [x for x in report.layers if x.kind == "Linear" and x.path and len(x.tensors) == 1]
    if not plain:
        return {}
    path = rng.choice(plain).path
    return {"map": rng.choice([
        {f"{path}.weight[0:1]": "first", f"{path}.weight[1:]": "second"},
        {f"{path}.weight.T": "turned"},
        {f"{path}.weight[0:1]": "w[1:2]", f"{path}.weight[1:2]": "w[0:1]",
         f"{path}.weight[2:]": "w[2:]"},
    ])}  # fmt: skip


def _cast(_: Report, rng: Random) -> Options:
    return {"dtype": rng.choice(["float16", "bfloat16", "float64", "float32"])}


def _split(report: Report, rng: Random) -> Options:
    paths = [x.path for x in report.layers if x.kind in _STACKED]
    return {"split": [rng.choice(paths)]} if paths else {}


def _fused(report: Report, _: Random) -> Options:
    rows = [x.path for x in report.layers if x.kind in _STACKED]
    return {"fuse": {"both": rows[:2]}} if len(rows) > 1 else {}


def _folded(report: Report, rng: Random) -> Options:
    kinds = ("Conv", "Linear")
    firsts = [x.path for x in report.layers if x.kind.startswith(kinds)]
    norms = [x.path for x in report.layers if x.kind.startswith("BatchNorm")]
    if not (firsts and norms):
        return {}
    return {"fold_bias": {rng.choice(firsts): rng.choice(norms)}}


def _dropped(report: Report, rng: Random) -> Options:
    paths = _paths(report)
    return {"drop": [rng.choice(paths)]} if len(paths) > 1 else {}


def _like(report: Report, rng: Random) -> Options:
    """A target network in which every word is another."""
    mark = rng.choice(["n", "_x", "2"])
    if "/" in "".join(t.target for t in report.tensors):
        return {}
    shapes = {}
    for tensor in report.tensors:
        path, _, leaf = tensor.target.rpartition(".")
        words = [x if x.isdigit() or x in _INNER else x + mark for x in path.split(".") if x]
        shapes[".".join([*words, leaf])] = tuple(tensor.shape)
    return {"like": shapes, "like_order": rng.random() < 0.5}


def _gates(report: Report, _: Random) -> Options:
    if {x.kind.removesuffix("Cell") for x in report.layers} & {"LSTM"}:
        return {"gates": "iofg"}
    return {}


def _forget(report: Report, _: Random) -> Options:
    if {x.kind.removesuffix("Cell") for x in report.layers} & {"LSTM"}:
        return {"forget_bias": 1.0}
    return {}


def _negated(report: Report, _: Random) -> Options:
    kinds: list[LayerEntry] = [x for x in report.layers if x.kind.startswith("GRU")]
    return {"z_convention": True} if kinds else {}


WAYS: dict[str, Callable[[Report, Random], Options]] = {
    "prefixed": _prefixed,
    "renamed": _renamed,
    "moved": _moved,
    "cycled": _cycled,
    "by parameter": _by_parameter,
    "sliced": _sliced,
    "cast": _cast,
    "split": _split,
    "fused": _fused,
    "folded": _folded,
    "dropped": _dropped,
    "like": _like,
    "gates": _gates,
    "forget": _forget,
    "negated": _negated,
}
