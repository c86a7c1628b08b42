"""Running cases one by one and counting how they end."""

from __future__ import annotations

import itertools
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from tests.differential.outcome import DEFECTS, Case, Generator, Outcome, Result, Void

FRAMEWORKS = {
    # source framework → the module whose GENERATOR draws its models
    "keras": "tests.differential.keras_models",
    "dtypes": "tests.differential.dtypes",
    "graphs": "tests.differential.graphs",
    "calls": "tests.differential.calls",
    "likes": "tests.differential.likes",
    "modules": "tests.differential.modules",
    "aliases": "tests.differential.aliases",
    "networks": "tests.differential.networks",
    "operations": "tests.differential.operations",
    "settings": "tests.differential.settings",
    "operators": "tests.differential.operators",
    "programs": "tests.differential.programs",
    "proofs": "tests.differential.proofs",
    "torch": "tests.differential.torch_models",
    "mindspore": "tests.differential.mindspore_models",
    "homeward": "tests.differential.homeward",
}
Ended = tuple[Case, Outcome]


def generator(framework: str) -> Generator:
    return import_module(FRAMEWORKS[framework]).GENERATOR


def attempt(generator: Generator, case: Case) -> Outcome:
    """Run one case; whatever it raises becomes its outcome."""
    with tempfile.TemporaryDirectory(prefix="differential-") as folder:
        try:
            return generator.run(case, Path(folder))
        except Void as error:
            return Outcome(Result.VOID, str(error)[:80])
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:80]
            return Outcome(Result.TRACEBACK, reason, traceback.format_exc())


def run(framework: str, seed: int, indices: Iterable[int]) -> Iterator[Ended]:
    """Run the cases of ascending ``indices`` and yield each with its outcome."""
    made = generator(framework)
    cases = made.cases(seed)
    at = 0
    for index in indices:
        case = next(itertools.islice(cases, index - at, None))
        at = index + 1
        yield case, attempt(made, case)


def _share(arguments: tuple[str, int, range]) -> list[Ended]:
    return list(run(*arguments))


def run_in_parallel(framework: str, seed: int, count: int, jobs: int) -> Iterator[Ended]:
    """Run the first ``count`` cases in ``jobs`` processes."""
    if jobs == 1:
        yield from run(framework, seed, range(count))
        return
    size = 50
    shares = [(framework, seed, range(i, min(i + size, count))) for i in range(0, count, size)]
    with get_context("spawn").Pool(jobs) as pool:
        for ended in pool.imap(_share, shares):
            yield from ended


def summary(outcomes: Iterable[Outcome]) -> str:
    """Return how many cases ended how, and the reasons of what was not equal."""
    outcomes = list(outcomes)
    counts = Counter(outcome.result for outcome in outcomes)
    lines = [", ".join(f"{counts[result]} {result.value}" for result in Result)]
    for result in (Result.REFUSED, Result.VOID, *DEFECTS):
        reasons = Counter(o.reason for o in outcomes if o.result is result)
        lines += [f"  {result.value} {n:5d}  {reason}" for reason, n in reasons.most_common()]
    return "\n".join(lines)
