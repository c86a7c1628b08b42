"""Starts workers, kills those that hang, and goes on after those that die."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_SILENCE = 60
"""Seconds between looks at a worker, and of processor time for one input."""
_ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Result:
    """What a run over one format showed.

    Attributes:
        findings: (input number, what is wrong).
        outcomes: how far inputs went → how many.
        slowest: the most processor seconds of one input.
        memory: the most MiB over the baseline.
    """

    name: str
    findings: list[tuple[int, str]] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    memory: int = 0

    @property
    def count(self) -> int:
        return sum(self.outcomes.values())


def run(name: str, first: int, stop: int) -> Result:
    """Run inputs ``first`` to ``stop`` of a format in worker processes, one after another."""
    result = Result(name)
    while first < stop:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            first = _run_worker(result, first, stop, Path(folder))
    return result


def _run_worker(result: Result, first: int, stop: int, folder: Path) -> int:
    """Run one worker to its end; return where to go on."""
    place = folder / "at"
    place.write_text(str(first))
    command = [sys.executable, "-m", "tests.fuzz.worker", result.name, str(first), str(stop)]
    died = _wait(subprocess.Popen([*command, str(folder)], cwd=_ROOT), place)
    at = int(place.read_text().rstrip("\0"))
    if died == 1:
        raise RuntimeError(f"the fuzzer itself failed at input {at} of {result.name}")
    for message in map(json.loads, (folder / "messages").read_text().splitlines()):
        if "finding" in message:
            result.findings.append((message["number"], message["finding"]))
        result.outcomes.update(message.get("outcomes", {}))
        result.slowest = max(result.slowest, message.get("slowest", 0.0))
        result.memory = max(result.memory, message.get("memory", 0))
    if died:
        result.findings.append((at, f"the process ended with {died}"))
        result.outcomes["finding"] += 1
    return at + 1


def _wait(worker: subprocess.Popen[bytes], place: Path) -> int:
    """Return how the worker ended, after killing it if it stands still or spins.

    A machine that is busy with other things is not the input's fault.
    """
    seen, began, before = "", 0.0, 0.0
    while True:
        try:
            return worker.wait(_SILENCE)
        except subprocess.TimeoutExpired:  # noqa: PERF203
            now, used = place.read_text(), _processor_seconds(worker.pid)
            if now == seen and (used == before or used - began > _SILENCE):
                worker.kill()
            began = began if now == seen else used
            seen, before = now, used
        except BaseException:
            worker.kill()
            raise


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
