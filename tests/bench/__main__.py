"""``python -m tests.bench [--sizes 4MiB 1GiB …] [--runs 5] [--json FILE] [--dir DIR] [--networks]``

Every figure is of a whole process, started alternately with the others in the same run, its target
removed before. ``cp`` is ``cp SRC DST && sync DST`` (ckptconv syncs too); ``script`` loads with
torch and saves with MindSpore. Ratios are medians of the paired ratios. ``--networks`` measures
what ``networks`` says, in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench import networks

SIZES = ("4MiB", "1GiB", "4GiB", "10000")
HERE = Path(__file__).parent
CKPTCONV = [sys.executable, "-m", "ckptconv"]


@dataclass
class Figures:
    """What each run of one command took."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One conversion: the kind of source, the target's suffix and framework."""

    name: str
    source: str
    target: str
    to: str


JOBS = (
    Job("torch2ms", "torch", ".ckpt", "mindspore"),
    Job("ms2torch", "mindspore", ".pt", "torch"),
    Job("torch2safetensors", "torch", ".safetensors", "torch"),
    Job("safetensors2ms", "safetensors", ".ckpt", "mindspore"),
    Job("torch2keras", "torch", ".h5", "keras"),
    Job("torch2keras3", "torch", ".weights.h5", "keras"),
    Job("keras2ms", "keras", ".ckpt", "mindspore"),
)


def make(kind: str, size: str, folder: Path) -> Path:
    """Make a source in another process: a child's peak memory counts from its parent's."""
    command = [sys.executable, "-m", "tests.bench.sources", kind, size, str(folder)]
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def measure(command: Sequence[str], target: Path, figures: Figures) -> None:
    """Run a command once and add what it took.

    Raises:
        SystemExit: the command failed.
    """
    target.unlink(missing_ok=True)
    os.sync()
    quiet = os.open(os.devnull, os.O_WRONLY)
    # An installed package has its bytecode.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    pid = os.posix_spawnp(
        command[0],
        list(command),
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2)],
    )
    _, status, usage = os.wait4(pid, 0)
    figures.wall.append(time.perf_counter() - start)
    os.close(quiet)
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}")
    figures.cpu.append(usage.ru_utime + usage.ru_stime)
    figures.peak_mib.append(usage.ru_maxrss / 1024)


def bench(job: Job, source: Path, folder: Path, runs: int) -> dict[str, Figures]:
    """Measure one job beside its yardsticks, one warm-up and then ``runs`` alternating runs."""
    target = folder / f"target{job.target}"
    commands = {
        "cp": ["sh", "-c", f"cp '{source}' '{target}' && sync '{target}'"],
        "ckptconv": [*CKPTCONV, "convert", str(source), str(target), "--to", job.to, "-q"],
    }
    if job.name == "torch2ms":
        script = str(HERE / "handwritten.py")
        commands["script"] = [sys.executable, script, str(source), str(target)]
    figures = {name: Figures() for name in commands}
    for name, command in commands.items():
        measure(command, target, Figures() if runs > 1 else figures[name])
    for _ in range(runs if runs > 1 else 0):
        for name, command in commands.items():
            measure(command, target, figures[name])
    target.unlink(missing_ok=True)
    return figures


def ratio(figures: dict[str, Figures], other: str) -> float | None:
    """Return the median of the paired wall-time ratios ckptconv / other."""
    if other not in figures:
        return None
    pairs = zip(figures["ckptconv"].wall, figures[other].wall, strict=True)
    return statistics.median(a / b for a, b in pairs)


def row(size: str, job: Job, figures: dict[str, Figures]) -> str:
    ours = figures["ckptconv"]
    cells = [f"{size:>9}", f"{job.name:<18}", f"{statistics.median(ours.wall):8.3f} s"]
    cells += [f"{statistics.median(ours.cpu):8.3f} s", f"{max(ours.peak_mib):8.1f} MiB"]
    for other in ("cp", "script"):
        value = ratio(figures, other)
        cells.append(f"{value:8.3f} × {other}" if value is not None else "")
    return "  ".join(cells)


def startup(runs: int) -> dict[str, Figures]:
    """Measure ``ckptconv --help`` beside ``import numpy``."""
    commands = {"ckptconv": [*CKPTCONV, "--help"], "numpy": [sys.executable, "-c", "import numpy"]}
    figures = {name: Figures() for name in commands}
    for _ in range(runs + 1):
        for name, command in commands.items():
            measure(command, Path(os.devnull + ".none"), figures[name])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--jobs", nargs="+", default=[j.name for j in JOBS])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--dir", help="where the files go; default: the temporary folder")
    parser.add_argument("--networks", action="store_true", help="networks instead of conversions")
    arguments = parser.parse_args()
    if arguments.networks:
        with tempfile.TemporaryDirectory() as place:
            for line in networks.lines(Path(place)):
                print(line, flush=True)
        return
    folder = Path(tempfile.mkdtemp(prefix="ckptconv-bench-", dir=arguments.dir))
    results: dict[str, dict[str, object]] = {}
    try:
        help_ = startup(arguments.runs)
        print(f"ckptconv --help: {ratio(help_, 'numpy'):.2f} × import numpy", flush=True)
        for size in arguments.sizes:
            for job in (job for job in JOBS if job.name in arguments.jobs):
                source = make(job.source, size, folder)
                figures = bench(job, source, folder, arguments.runs)
                print(row(size, job, figures), flush=True)
                results[f"{size} {job.name}"] = {n: asdict(f) for n, f in figures.items()}
            for file in folder.iterdir():
                file.unlink()
    finally:
        shutil.rmtree(folder)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1))


main()
