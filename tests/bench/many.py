"""Many files: ``batch`` beside a bare loop of ``load`` and ``save``, Dask beside a process pool.

2,000 torch checkpoints of 200 KiB, to MindSpore; each run into a folder of its own, since a file
system may be slow where much was just deleted. The loop and ``batch`` are whole processes, start
included; of the pool and of Dask, both with 4 workers that have converted a file before, it is
``convert_many`` alone. The least of all runs counts, of wall and of processor time each by itself.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import ckptconv
from ckptconv import batch
from ckptconv.checkpoint import Checkpoint
from ckptconv.formats import write
from ckptconv.tensors.tensor import ArrayTensor

COUNT, MANY, WORKERS = 2_000, 20_000, 4
_SHAPES = {
    f"lstm.{name}_l{layer}": (240, *width)
    for layer in range(2)
    for name, width in (
        ("weight_ih", (60 if layer else 24,)),
        ("weight_hh", (60,)),
        ("bias_ih", ()),
        ("bias_hh", ()),
    )
} | {"out.weight": (10, 60), "out.bias": (10,)}


def lines(place: Path, runs: int) -> Iterator[str]:
    """Measure and yield the lines of two tables."""
    folder, rates = place / "in", dict[str, list[tuple[float, float]]]()
    _run("sources", folder)
    for number in range(runs):
        for what in ("loop", "batch 1", "batch 2", "pool", "dask"):
            target = place / f"{what}-{number}"
            rates.setdefault(what, []).append(_run(what, folder, target))
    yield f"| {COUNT} files | wall | processor | files/s | × loop, for each worker |\n{'|---' * 5}|"
    loop = min(wall for wall, _ in rates["loop"])
    for what, figures in rates.items():
        wall, cpu = (min(column) for column in zip(*figures, strict=True))
        workers = {"batch 2": 2}.get(what, 1)
        own = "" if what in ("pool", "dask") else f"{loop / wall / workers:.2f}"
        yield f"| {what} | {wall:.2f} s | {cpu:.2f} s | {COUNT / wall:.0f} | {own} |"
    pairs = zip(rates["dask"], rates["pool"], strict=True)
    paired = statistics.median(b[0] / a[0] for a, b in pairs)
    yield f"\nDask reaches {paired:.2f} × the rate of the pool, as the median of paired runs.\n"
    yield f"A worker's memory: {_output('memory', folder, place / 'memory')}"


def _command(what: str, *paths: Path) -> list[str]:
    command, _, jobs = what.partition(" ")
    if command == "batch":
        options = ["--to", "mindspore", "--jobs", jobs, "-q"]
        return [sys.executable, "-m", "ckptconv", "batch", *map(str, paths), *options]
    return [sys.executable, "-m", "tests.bench.many", command, *map(str, paths)]


def _output(what: str, *paths: Path) -> str:
    command = _command(what, *paths)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _run(what: str, *paths: Path) -> tuple[float, float]:
    """Return wall and processor seconds: of the process, or of what it says that it took."""
    os.sync()
    before, start = os.times(), time.perf_counter()
    said = _output(what, *paths)
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user - before.children_user
    cpu += after.children_system - before.children_system
    return float(said) if said else wall, cpu


def sources(folder: Path) -> None:
    folder.mkdir()
    for number in range(COUNT):
        rng = np.random.default_rng(number)
        tensors = {
            name: ArrayTensor(rng.random(shape, np.float32) - np.float32(0.5))
            for name, shape in _SHAPES.items()
        }
        write(Checkpoint("torch-zip", tensors), folder / f"model{number:04}.pt")


def loop(folder: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(folder.iterdir()):
        ckptconv.save(ckptconv.load(path), target / f"{path.stem}.ckpt", to="mindspore")


def pool(folder: Path, target: Path) -> None:
    with ProcessPoolExecutor(WORKERS) as executor:
        _convert(folder, target, executor)


def dask(folder: Path, target: Path) -> None:
    with _dask(WORKERS) as executor:
        _convert(folder, target, executor)


@contextmanager
def _dask(workers: int) -> Iterator[Any]:
    from dask import config
    from distributed import Client, LocalCluster

    with (
        config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        yield client.get_executor()


def _convert(folder: Path, target: Path, executor: Executor) -> None:
    pairs = batch.find(folder, target, ".ckpt")
    warm = [(pairs[0][0], target / f"warm{n}.ckpt") for n in range(4 * WORKERS)]
    ckptconv.convert_many(warm, to="mindspore", executor=executor)
    start = time.perf_counter()
    outcomes = ckptconv.convert_many(pairs, to="mindspore", executor=executor)
    print(time.perf_counter() - start)
    _require_converted(outcomes)


def memory(folder: Path, target: Path) -> None:
    """Print what one worker holds after some of many files."""
    held: list[str] = []
    pairs = batch.find(folder, target, ".ckpt")
    with ProcessPoolExecutor(1) as executor:
        worker = executor.submit(os.getpid).result()
        for done in range(COUNT, MANY + 1, COUNT):
            outcomes = ckptconv.convert_many(pairs, to="mindspore", executor=executor)
            _require_converted(outcomes)
            shutil.rmtree(target)
            pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
            held.append(f"{pages * os.sysconf('SC_PAGE_SIZE') / (1 << 20):.0f} MiB after {done:,}")
    print(", ".join(held))


def _require_converted(outcomes: list[batch.Outcome]) -> None:
    if any(outcome.status != batch.CONVERTED for outcome in outcomes):
        raise SystemExit(f"not converted: {next(o for o in outcomes if o.error)}")


if __name__ == "__main__":
    _STEPS = {"sources": sources, "loop": loop, "pool": pool, "dask": dask, "memory": memory}
    _STEPS[sys.argv[1]](*map(Path, sys.argv[2:]))
