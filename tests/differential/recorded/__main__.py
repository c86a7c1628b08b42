"""``python -m tests.differential.recorded FOLDER``: networks against what was recorded there."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ckptconv import CkptconvError
from tests.differential.harness import summary
from tests.differential.networks import TARGETS, answered, compared
from tests.differential.outcome import DEFECTS, Outcome, Result


def attempt(folder: Path, target: str) -> Outcome:
    """Write the network of a recorded model, and run it on what the model was given."""
    data = np.load(folder / "data.npz")
    path = next(path for path in folder.iterdir() if path.suffix in (".h5", ".keras"))
    with tempfile.TemporaryDirectory() as tmp:
        try:
            module, weights, names = answered(path, target, Path(tmp))
        except CkptconvError as error:
            return Outcome(Result.REFUSED, error.problem[:70], str(error))
        except Exception as error:
            return Outcome(Result.TRACEBACK, repr(error)[:80])
        sets = [[data[f"in_{i}_{name}"] for name in names] for i in range(2)]
        try:
            found = [TARGETS[target](module, weights, given) for given in sets]
        except Exception as error:
            return Outcome(Result.SILENT, "a network that does not run", repr(error))
    return compared(found, [list(_outputs(data, i)) for i in range(2)], target)


def _outputs(data: Any, i: int) -> Iterator[np.ndarray]:
    return (data[name] for name in sorted(data.files) if name.startswith(f"out_{i}_"))


def main() -> int:
    outcomes = []
    for data in sorted(Path(sys.argv[1]).glob("*/data.npz")):
        for target in TARGETS:
            outcome = attempt(data.parent, target)
            outcomes.append(outcome)
            if outcome.result in DEFECTS:
                steps = np.load(data)["steps"]
                print(
                    f"{data.parent.name} to {target}: {outcome.detail or outcome.reason}: {steps}"
                )
    print(summary(outcomes))
    return int(any(outcome.result in DEFECTS for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
