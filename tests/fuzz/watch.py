"""Starts workers, kills those that hang, and goes on after those that die."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

_SILENCE = 60
"""Seconds without a new input: a hang that does not even use the processor."""
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
    """Return how the worker ended, after killing it if it stands still."""
    seen = ""
    while True:
        try:
            return worker.wait(_SILENCE)
        except subprocess.TimeoutExpired:  # noqa: PERF203
            now = place.read_text()
            if now == seen:
                worker.kill()
            seen = now
        except BaseException:
            worker.kill()
            raise
