"""``python -m tests.bench [--sizes 4MiB 1GiB …] [--runs 5] [--json FILE] [--dir DIR] [--networks]``

Every figure is of a whole process, started alternately with the others in the same run, its target
removed before. The table is Markdown. ``cp`` is ``cp SRC DST && sync DST`` (ckptconv syncs too);
``script`` loads with torch and saves with MindSpore; ``load+save`` loads with torch and saves with
safetensors; ``cat`` reads both files; ``numpy`` imports it. Ratios are medians of the paired ratios
of wall time, and in brackets of processor time, which other work on the machine changes less.

``--json FILE`` adds the figures to a history; ``--scaling`` shows how each algorithm grows;
``--networks`` measures what ``networks`` says, in this process, and ``--many`` what ``many`` does.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench import many, networks, scaling

SIZES = ("4MiB", "1GiB", "4GiB", "20000")
HERE = Path(__file__).parent
CKPTCONV = [sys.executable, "-m", "ckptconv"]
_NUMPY = [sys.executable, "-c", "import numpy"]


@dataclass
class Figures:
    """What each run of one command took."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One conversion: the kind of source, the target's suffix and framework; or a comparison."""

    name: str
    source: str
    target: str = ""
    to: str = ""
    script: str = ""


JOBS = (
    Job("torch2ms", "torch", ".ckpt", "mindspore", "script"),
    Job("ms2torch", "mindspore", ".pt", "torch"),
    Job("torch2safetensors", "torch", ".safetensors", "torch", "load+save"),
    Job("safetensors2ms", "safetensors", ".ckpt", "mindspore"),
    Job("torch2keras", "torch", ".h5", "keras"),
    Job("torch2keras3", "torch", ".weights.h5", "keras"),
    Job("keras2ms", "keras", ".ckpt", "mindspore"),
    Job("diff", "torch"),
    Job("verify", "torch"),
    Job("inspect", "torch"),
)
_SCRIPTS = {"script": "handwritten.py", "load+save": "load_and_save.py"}
_OTHERS = ("cp", "cat", "numpy", *_SCRIPTS)


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
    commands = _conversion(job, source, target) if job.target else _comparison(job, source)
    figures = {name: Figures() for name in commands}
    for name, command in commands.items():
        measure(command, target, Figures() if runs > 1 else figures[name])
    for _ in range(runs if runs > 1 else 0):
        for name, command in commands.items():
            measure(command, target, figures[name])
    target.unlink(missing_ok=True)
    return figures


def _conversion(job: Job, source: Path, target: Path) -> dict[str, list[str]]:
    commands = {
        "cp": ["sh", "-c", f"cp '{source}' '{target}' && sync '{target}'"],
        "ckptconv": [*CKPTCONV, "convert", str(source), str(target), "--to", job.to, "-q"],
        "numpy": _NUMPY,
    }
    if job.script:
        script = str(HERE / _SCRIPTS[job.script])
        commands[job.script] = [sys.executable, script, str(source), str(target)]
    return commands


def _comparison(job: Job, source: Path) -> dict[str, list[str]]:
    other = source.with_stem("other")
    if job.name == "inspect":
        return {"ckptconv": [*CKPTCONV, "inspect", str(source)], "numpy": _NUMPY}
    if not other.exists():
        shutil.copy(source, other)
    return {
        "cat": ["sh", "-c", f"cat '{source}' '{other}' > /dev/null"],
        "ckptconv": [*CKPTCONV, job.name, str(source), str(other)],
        "numpy": _NUMPY,
    }


def ratio(figures: dict[str, Figures], other: str, what: str = "wall") -> float | None:
    """Return the median of the paired ratios ckptconv / other."""
    if other not in figures:
        return None
    both = (getattr(figures[name], what) for name in ("ckptconv", other))
    return statistics.median(a / b for a, b in zip(*both, strict=True))


def head() -> str:
    """Return the first lines of the table."""
    cells = ["size", "what", "wall", "processor", "peak", *(f"× {other}" for other in _OTHERS)]
    return f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}"


def row(size: str, job: Job, figures: dict[str, Figures]) -> str:
    ours = figures["ckptconv"]
    cells = [size, job.name, f"{statistics.median(ours.wall):.2f} s"]
    cells += [f"{statistics.median(ours.cpu):.2f} s", f"{max(ours.peak_mib):.0f} MiB"]
    for other in _OTHERS:
        wall, cpu = ratio(figures, other), ratio(figures, other, "cpu")
        cells.append(f"{wall:.2f} ({cpu:.2f})" if wall is not None else "")
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Describe this machine: what kind, not which."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    load = os.getloadavg()[0]
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {pages >> 30} GiB, "
        f"Python {platform.python_version()}, load {load:.1f}"
    )


def startup(runs: int) -> dict[str, Figures]:
    """Measure ``ckptconv --help`` beside ``import numpy``."""
    commands = {"ckptconv": [*CKPTCONV, "--help"], "numpy": _NUMPY}
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
    parser.add_argument("--many", action="store_true", help="many files, in several processes")
    parser.add_argument("--scaling", action="store_true", help="how each algorithm grows; no more")
    arguments = parser.parse_args()
    if arguments.networks or arguments.many:
        with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
            place = Path(name)
            found = many.lines(place, arguments.runs) if arguments.many else networks.lines(place)
            for line in found:
                print(line, flush=True)
        return
    print(machine(), flush=True)
    if arguments.scaling:
        _keep(arguments.json, dict(scaling.show()))
        return
    folder = Path(tempfile.mkdtemp(prefix="ckptconv-bench-", dir=arguments.dir))
    results: dict[str, object] = {}
    try:
        help_ = startup(arguments.runs)
        print(
            f"ckptconv --help: {ratio(help_, 'numpy'):.2f} × import numpy\n\n{head()}", flush=True
        )
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
    _keep(arguments.json, results)


def _keep(path: str | None, results: dict[str, object]) -> None:
    """Add figures to a history."""
    if path:
        history = json.loads(Path(path).read_text()) if Path(path).exists() else []
        entry = {"date": time.strftime("%Y-%m-%d"), "machine": machine(), "figures": results}
        Path(path).write_text(json.dumps([*history, entry], indent=1))


main()
