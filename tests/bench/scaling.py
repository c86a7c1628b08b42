"""What each algorithm takes for 1, 2, 4 and 8 times as much: seconds of processor time.

An algorithm that grows linearly doubles from column to column; one that is quadratic takes four
times as long.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import ckptconv
from ckptconv.checkpoint import Checkpoint
from ckptconv.codecs.json import to_json
from ckptconv.errors import CkptconvError
from ckptconv.formats import write
from ckptconv.tensors.tensor import ArrayTensor

TIMES = (1, 2, 4, 8)
_KINDS = {"net.*.table": "Embedding"}
_LINEAR = {"blocks.*": "Linear"}
Shapes = dict[str, tuple[int, ...]]


def plain(count: int) -> Shapes:
    return {
        f"blocks.{i}.fc.{name}": shape
        for i in range(count // 2)
        for name, shape in (("weight", (16, 16)), ("bias", (16,)))
    }


def recurrent(levels: int, path: str = "lstm") -> Shapes:
    return {
        f"{path}.{name}_l{k}": shape
        for k in range(levels)
        for name, shape in (
            ("weight_ih", (16, 4)),
            ("weight_hh", (16, 4)),
            ("bias_ih", (16,)),
            ("bias_hh", (16,)),
        )
    }


def modules(count: int) -> Shapes:
    return {
        name: shape for i in range(count) for name, shape in recurrent(1, f"layers.{i}").items()
    }


def mixed(count: int) -> Shapes:
    shapes = {}
    for i in range(count // 8):
        shapes |= {
            f"net.{i}.{name}": shape
            for name, shape in (
                ("conv.weight", (8, 4, 3, 3)),
                ("conv.bias", (8,)),
                *((f"bn.{name}", (8,)) for name in ("weight", "bias")),
                *((f"bn.running_{name}", (8,)) for name in ("mean", "var")),
                ("table.weight", (10, 4)),
                ("scale", (3,)),
            )
        }
    return shapes


def bare(count: int) -> Shapes:
    return {f"blocks.{i}.weight": (16, 16) for i in range(count)}


def unknown(count: int) -> Shapes:
    return {f"blocks.{i}.weight": (2, 3, 4, 5, 6, 7) for i in range(count)}


def saved(shapes: Shapes, path: Path) -> Path:
    random = np.random.default_rng(0)
    tensors = {n: ArrayTensor(random.random(s, np.float32)) for n, s in shapes.items()}
    write(Checkpoint("torch-zip", tensors), path)
    return path


def _convert(shapes: Callable[[int], Shapes], suffix: str, to: Any, **more: Any) -> Any:
    def prepare(size: int, folder: Path) -> Callable[[], object]:
        source = saved(shapes(size), folder / "source.pt")
        return lambda: ckptconv.convert(source, folder / f"target{suffix}", to=to, **more)

    return prepare


def _back(shapes: Callable[[int], Shapes], middle: str, by: Any, to: Any) -> Any:
    """Time what comes from another framework, with the report of how it got there."""

    def prepare(size: int, folder: Path) -> Callable[[], object]:
        there = folder / f"there{middle}"
        report = ckptconv.convert(saved(shapes(size), folder / "source.pt"), there, to=by)
        (folder / "report.json").write_text(to_json(report.to_dict()))
        restore = folder / "report.json"
        return lambda: ckptconv.convert(there, folder / "back.pt", to=to, restore=restore)

    return prepare


def _refused(shapes: Callable[[int], Shapes]) -> Any:
    def prepare(size: int, folder: Path) -> Callable[[], object]:
        source = saved(shapes(size), folder / "source.pt")
        return lambda: _error(source, folder / "target.ckpt")

    return prepare


def _error(source: Path, target: Path) -> CkptconvError:
    try:
        ckptconv.convert(source, target, to="mindspore")
    except CkptconvError as error:
        return error
    raise AssertionError("not refused")


def _report(size: int, folder: Path) -> Callable[[], object]:
    report = ckptconv.convert(
        saved(plain(size), folder / "source.pt"), folder / "target.ckpt", to="mindspore"
    )
    return lambda: to_json(report.to_dict())


def _map(size: int, folder: Path) -> Callable[[], object]:
    source = saved(plain(2 * size), folder / "source.pt")
    lines = {f"blocks.{i}.fc": f"encoder.{i}.dense" for i in range(size)}
    (folder / "map.json").write_text(json.dumps(lines))
    return lambda: ckptconv.load(source, map=folder / "map.json")


def _match(size: int, folder: Path) -> Callable[[], object]:
    shapes = plain(2 * size)
    source = saved(shapes, folder / "source.pt")
    renamed = {n.replace("blocks", "encoder").replace("fc", "dense"): s for n, s in shapes.items()}
    return lambda: ckptconv.match(source, saved(renamed, folder / "wanted.pt"))


def _diff(size: int, folder: Path) -> Callable[[], object]:
    first, second = (saved(plain(size), folder / f"{name}.pt") for name in "ab")
    return lambda: ckptconv.diff(first, second)


def _verify(shapes: Callable[[int], Shapes]) -> Any:
    def prepare(size: int, folder: Path) -> Callable[[], object]:
        source, target = saved(shapes(size), folder / "source.pt"), folder / "target.ckpt"
        ckptconv.convert(source, target, to="mindspore")
        return lambda: ckptconv.verify(source, target)

    return prepare


def _differ(size: int, folder: Path) -> Callable[[], object]:
    first = saved(plain(size), folder / "a.pt")
    renamed = {name.replace("fc", "dense"): shape for name, shape in plain(size).items()}
    second = saved(renamed, folder / "b.pt")
    return lambda: ckptconv.diff(first, second)


def _like(size: int, folder: Path) -> Callable[[], object]:
    source = saved(plain(size), folder / "source.pt")
    ckptconv.convert(source, folder / "like.ckpt", to="mindspore")
    like, target = folder / "like.ckpt", folder / "target.ckpt"
    return lambda: ckptconv.convert(source, target, to="mindspore", like=like)


def _inspect(size: int, folder: Path) -> Callable[[], object]:
    from ckptconv.inspection import describe

    source = saved(mixed(size), folder / "source.pt")
    return lambda: describe(source)


ROWS: dict[str, tuple[int, Callable[[int, Path], Callable[[], object]]]] = {
    # what: (the least size, size and folder → what is timed)
    "tensors, torch → MindSpore": (4000, _convert(plain, ".ckpt", "mindspore")),
    "tensors, torch → safetensors": (4000, _convert(mixed, ".safetensors", "torch")),
    "tensors, torch → weights.h5": (4000, _convert(plain, ".weights.h5", "keras")),
    "tensors, torch → legacy .h5": (4000, _convert(plain, ".h5", "keras")),
    "tensors, all kinds": (4000, _convert(mixed, ".ckpt", "mindspore", kinds=_KINDS)),
    "tensors, report": (4000, _report),
    "tensors, Keras → torch": (4000, _back(plain, ".weights.h5", "keras", "torch")),
    "tensors, MindSpore → torch": (4000, _back(plain, ".ckpt", "mindspore", "torch")),
    "tensors, each of an unsure kind": (4000, _refused(bare)),
    "tensors of six axes each": (4000, _refused(unknown)),
    "tensors, a kind for each": (
        4000,
        _convert(bare, ".ckpt", "mindspore", kinds=_LINEAR),
    ),
    "tensors, verify": (4000, _verify(plain)),
    "LSTMs, verify": (100, _verify(modules)),
    "tensors, diff of other names": (4000, _differ),
    "tensors, --like": (4000, _like),
    "tensors, inspect": (4000, _inspect),
    "tensors, diff": (4000, _diff),
    "levels of an LSTM": (64, _convert(recurrent, ".ckpt", "mindspore")),
    "levels of an LSTM, to Keras": (64, _convert(recurrent, ".h5", "keras")),
    "levels of an LSTM, --split": (64, _convert(recurrent, ".ckpt", "mindspore", split=["lstm"])),
    "lines of --map": (1250, _map),
    "modules, match": (250, _match),
}


def rows() -> Iterator[tuple[str, int, list[float]]]:
    """Yield what, the least size, and seconds for 1, 2, 4 and 8 times that."""
    for what, (least, _) in ROWS.items():
        yield what, least, [_measured(what, least * times) for times in TIMES]


def show() -> dict[str, list[float]]:
    """Print the table as it is measured, and return it."""
    print(f"{'':30}  {'':>6}" + "".join(f"{f'× {n}':>10}" for n in TIMES))
    found = {}
    for what, least, seconds in rows():
        print(f"{what:30}  {least:6}" + "".join(f"{s:8.3f} s" for s in seconds), flush=True)
        found[what] = seconds
    return found


def _measured(what: str, size: int) -> float:
    command = [sys.executable, "-m", __spec__.name, what, str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _main(what: str, size: int) -> None:
    with tempfile.TemporaryDirectory(prefix="ckptconv-scaling-") as folder:
        run = ROWS[what][1](size, Path(folder))
        start = time.process_time()
        run()
        print(time.process_time() - start)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
