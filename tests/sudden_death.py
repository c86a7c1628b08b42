"""Conversions that are killed: the target is the old file or the whole new one, never a part.

``python -m tests.sudden_death [--kills N] [--megabytes M]`` kills N conversions at random moments
with SIGKILL and prints what it found; the tests run a few.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from ckptconv import api

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"x.ckpt": "mindspore", "x.h5": "keras", "x.pt": "torch", "x.safetensors": "mint"}


def make_source(path: Path, megabytes: int) -> None:
    """Write a safetensors file of an LSTM of several layers with distinct values."""
    from safetensors.numpy import save_file

    hidden = max(2, int((megabytes * (1 << 20) / (4 * 16)) ** 0.5))
    rng, tensors = np.random.default_rng(1), {}
    for layer in range(2):
        for name, shape in (
            ("weight_ih", (4 * hidden, hidden)),
            ("weight_hh", (4 * hidden, hidden)),
            ("bias_ih", (4 * hidden,)),
            ("bias_hh", (4 * hidden,)),
        ):
            tensors[f"rnn.{name}_l{layer}"] = rng.standard_normal(shape, dtype="f4")
    save_file(tensors, path, metadata={"format": "pt"})


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "none"


def start(source: Path, target: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a conversion as a user does."""
    framework = TARGETS["x" + target.suffix]
    command = [sys.executable, "-m", "ckptconv", "convert", source, target, "--to", framework]
    return subprocess.Popen(
        [*map(str, command), "-q", *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def leftovers(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(".part"))


def kill_at_random(folder: Path, kills: int, megabytes: int, seed: int = 0) -> Counter[str]:
    """Kill conversions over an existing target until ``kills`` were hit; count the outcomes.

    Raises:
        AssertionError: a partial target, a changed source, or a stale file that stays.
    """
    rng, seen = random.Random(seed), Counter[str]()
    source = folder / "source.safetensors"
    make_source(source, megabytes)
    before, targets = digest(source), [folder / name for name in TARGETS]
    known = [_time_whole(source, target) for target in targets]
    for number in itertools.count():
        if seen["killed"] == kills:
            break
        target, (whole, seconds) = targets[number % len(targets)], known[number % len(targets)]
        target.write_bytes(b"the old file")
        old = digest(target)
        run = start(source, target, "--force")
        time.sleep(rng.uniform(0.2, 1.0) * seconds)
        run.send_signal(signal.SIGKILL)
        ended = run.wait()
        found = digest(target)
        assert found in (old, whole), f"{target.name}: neither the old file nor the new one"
        assert digest(source) == before, "the source was changed"
        stale = leftovers(folder)
        state = "old" if found == old else "new"
        seen[f"{state} file, {'temporary' if stale else 'nothing'} left"] += 1
        seen["killed" if ended == -signal.SIGKILL else "ended before"] += 1
    for target in targets:
        api.convert(source, target, to=TARGETS[target.name], force=True)
    assert not leftovers(folder), "stale temporary files were not removed"
    return seen


def _time_whole(source: Path, target: Path) -> tuple[str, float]:
    """Return the digest of a whole conversion, which is the same each time, and its seconds."""
    begun = time.monotonic()
    target.unlink(missing_ok=True)
    start(source, target).wait()
    return digest(target), time.monotonic() - begun


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sudden_death", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--megabytes", type=int, default=32)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = kill_at_random(Path(folder), options.kills, options.megabytes)
    for outcome, count in seen.most_common():
        print(f"{count:5} {outcome}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
