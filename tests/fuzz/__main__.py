"""The command line of the fuzzer (see the package's docstring)."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ckptconv import formats
from tests.fuzz import watch
from tests.fuzz.formats import FORMATS

_CHUNK, _SHOWN = 10_000, 20
_KNOWN = {row.name for row in formats.FORMATS}


def main() -> int:
    options = _options()
    names = options.formats or [n for n, row in FORMATS.items() if row.container in _KNOWN]
    if options.show:
        return _show(names[0], options.first, options.show)
    found = 0
    ranges = [
        (name, first, min(first + _CHUNK, options.first + options.count))
        for first in range(options.first, options.first + options.count, _CHUNK)
        for name in names
    ]
    with ThreadPoolExecutor(options.jobs) as pool:
        for result in pool.map(lambda job: watch.run(*job), ranges):
            _print(result)
            found += len(result.findings)
    return int(found > 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--count", type=int, default=1000, help="inputs of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--jobs", type=int, default=1, help="workers at once")
    parser.add_argument("--show", type=Path, metavar="DIR", help="only write input --first to DIR")
    options = parser.parse_args()
    if unknown := set(options.formats) - FORMATS.keys():
        parser.error(f"unknown format {min(unknown)}")
    return options


def _show(name: str, number: int, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in FORMATS[name].input(number).items():
        (folder / file).write_bytes(data)
        print(folder / file)
    return 0


def _print(result: watch.Result) -> None:
    counts = ", ".join(f"{k} {v}" for k, v in result.outcomes.most_common())
    print(
        f"{result.name}: {result.count} inputs ({counts}); slowest {result.slowest:.2f} s, "
        f"+{result.memory} MiB; {len(result.findings)} findings"
    )
    for number, text in result.findings[:_SHOWN]:
        print(f"  {result.name} {number}: {text}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
