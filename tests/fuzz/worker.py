"""The loop over inputs, in a process of its own (started by ``watch``)."""

from __future__ import annotations

import codecs
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path

import ckptconv
from tests.fuzz.formats import FORMATS, Files, Format
from tests.fuzz.guard import MEMORY, Forbidden, Guard, Hang, limit_memory, peak_memory
from tests.fuzz.target import TARGETS, WRITTEN, exercise

_CODECS = (
    "cp437 unicode_escape raw_unicode_escape latin1 ascii utf_16_le utf_16_be utf_32_le utf_32_be"
)


class Runner:
    """Runs inputs in a folder of their own, under guard."""

    def __init__(self, folder: Path, option: str) -> None:
        self._folder = folder
        self._guard, self._option = Guard(str(folder)), option
        self.outcomes: Counter[str] = Counter()
        self.slowest = 0.0

    def run(self, files: Files, number: int) -> str | None:
        """Return what is wrong with the product, or None."""
        for name, data in files.items():
            (self._folder / name).write_bytes(data)
        finding, start = None, time.process_time()
        path, *beside = (self._folder / name for name in files)
        given = {self._option: str(beside[0])} if self._option else {}
        try:
            with self._guard.watching():
                outcome = exercise(path, number, **given)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            finding, outcome = _describe(error), "finding"
        self.slowest = max(self.slowest, time.process_time() - start)
        self.outcomes[outcome] += 1
        strange = self._leftovers(files, outcome)
        return finding or strange

    def _leftovers(self, files: Files, outcome: str) -> str | None:
        """Empty the folder; tell of what should not be there."""
        strangers = []
        for path in self._folder.iterdir():
            expected = path.name in files or (
                path.name.startswith("target.") and outcome in ("converted", "finding")
            )
            strangers += [] if expected else [path.name]
            path.unlink()
        swallowed = self._guard.violations[:1]
        return f"left behind: {strangers}" if strangers else next(iter(swallowed), None)


def warm_up(row: Format) -> None:
    """Run the seeds as they are, so that what the product imports on demand is there."""
    for module in pkgutil.walk_packages(ckptconv.__path__, "ckptconv."):
        if not module.name.startswith(("ckptconv.verification", "ckptconv.__main__")):
            importlib.import_module(module.name)
    for name in ("h5py", "ml_dtypes"):
        importlib.import_module(name)
    for name in _CODECS.split():
        codecs.lookup(name)
    seeds = row.sources()
    for number in range(max(TARGETS, len(seeds))):
        path = seeds[number % len(seeds)]
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, suppress(Exception):
            for name, data in row.files(path).items():
                Path(folder, name).write_bytes(data)
            given = {row.option: str(Path(folder, [*row.files(path)][-1]))} if row.option else {}
            exercise(Path(folder, path.name), number * WRITTEN, **given)


def main(name: str, first: int, stop: int, log: Path) -> None:
    """Run inputs ``first`` to ``stop``; keep in ``log`` which is running and what was found."""
    row = FORMATS[name]
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        open(log / "at", "r+b", buffering=0) as place,
        open(log / "messages", "w") as messages,
    ):
        tempfile.tempdir = folder
        runner = Runner(Path(folder), row.option)
        warm_up(row)
        base = peak_memory()
        limit_memory()
        for number in range(first, stop):
            os.pwrite(place.fileno(), b"%020d" % number, 0)
            finding = runner.run(row.input(number), number)
            grown = peak_memory() - base
            if finding is None and grown > MEMORY:
                finding = f"memory: {grown >> 20} MiB"
            if finding is not None:
                print(json.dumps({"finding": finding, "number": number}), file=messages, flush=True)
            if grown > MEMORY:  # the next one needs a new baseline
                break
        done = {"outcomes": runner.outcomes, "slowest": runner.slowest, "memory": grown >> 20}
        print(json.dumps(done), file=messages)


def _describe(error: BaseException) -> str:
    if isinstance(error, (Hang, Forbidden)):
        frames = traceback.extract_tb(error.__traceback__)[-6:]
    else:
        frames = traceback.extract_tb(error.__traceback__)
    inner = [f for f in frames if "ckptconv/" in f.filename][-1:]
    where = "".join(f" at {Path(f.filename).name}:{f.lineno}" for f in inner)
    return f"{type(error).__name__}{where}: {str(error)[:300]}"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
