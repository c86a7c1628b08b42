"""``python -m tests.differential --framework keras --count 2000 --seed 0``."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from tests.differential.harness import FRAMEWORKS, run, run_in_parallel, summary
from tests.differential.outcome import DEFECTS, Case, Outcome


def main() -> int:
    """Run cases, print every defect and the counts; exit with 1 if there was a defect."""
    parser = argparse.ArgumentParser(prog="tests.differential", description=__doc__)
    parser.add_argument("--framework", choices=FRAMEWORKS, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--show", type=int, metavar="INDEX", help="run one case, and tell all")
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("GLOG_v", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)  # Keras has an opinion of HDF5
    if options.show is not None:
        ((case, outcome),) = run(options.framework, options.seed, [options.show])
        _tell(case, outcome)
        return int(outcome.result in DEFECTS)
    outcomes = []
    ended = run_in_parallel(options.framework, options.seed, options.count, options.jobs)
    for case, outcome in ended:
        outcomes.append(outcome)
        if outcome.result in DEFECTS:
            print(f"{case.index}: {outcome.result.value}: {outcome.reason}", flush=True)
    print(summary(outcomes))
    return int(any(outcome.result in DEFECTS for outcome in outcomes))


def _tell(case: Case, outcome: Outcome) -> None:
    print(case.text)
    print(f"→ {outcome.result.value}: {outcome.reason}")
    print(outcome.detail)


if __name__ == "__main__":
    sys.exit(main())
