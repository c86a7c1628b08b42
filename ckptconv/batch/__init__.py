"""Many conversions: resumable, and one bad file does not stop the rest.

Beside each target stands its report, ``<target>.report.json``, which is also the record of what was
done: a conversion whose source, options and target are as the record says is not repeated. A run
that is killed leaves the record's temporary file; its target is made again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import closing, suppress
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ckptconv import formats
from ckptconv import options as o
from ckptconv.batch.job import (
    CONVERTED,
    FAILED,
    UNCHANGED,
    WOULD_CONVERT,
    Job,
    Outcome,
    convert_all,
    files_of,
    made_by,
    stoppable,
)
from ckptconv.options import ReadOptions, Target, WriteOptions
from ckptconv.options.values import check
from ckptconv.spelling import public

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "CONVERTED",
    "FAILED",
    "UNCHANGED",
    "WOULD_CONVERT",
    "ConvertKeywords",
    "Outcome",
    "convert_many",
    "find",
    "stoppable",
]


_MOST, _SHARES, _SHARE = 32, 64, 16 << 20
"""Jobs of one share, shares that there are at least of many jobs, and bytes that make a share."""


class ConvertKeywords(o.ReadKeywords, total=False):
    """The options of ``convert`` for functions that hand them on; a test holds the two equal."""

    like: o.Like | None
    like_order: bool
    fill: o.Pairs
    drop: Iterable[str]
    fold_bias: o.Pairs
    dtype: o.DTypeName | None
    fold_proj: bool
    hardware: o.Hardware | None


@public(ConvertKeywords)
def convert_many(
    pairs: Iterable[tuple[o.StrPath, o.StrPath]],
    *,
    to: Target,
    executor: Executor | None = None,
    force: bool = False,
    dry_run: bool = False,
    network: bool = False,
    stubs: Iterable[str] = (),
    done: Callable[[Outcome], None] | None = None,
    **options: Unpack[ConvertKeywords],
) -> list[Outcome]:
    """Convert many files; see ``convert`` for ``to`` and ``options``.

    Every target is read back and checked. Errors are outcomes, never raised.

    Args:
        pairs: (source, target) paths.
        executor: any ``concurrent.futures.Executor`` (a process pool, a Dask client's
            ``get_executor()``); by default this process does them, in order.
        force: replace targets that no record knows.
        dry_run: do everything but write; what is not done yet is ``would convert`` then.
        network: write each network too, beside its target, as a file with ``.py`` for suffix.
        stubs: names of layers that networks leave as functions to be written by hand.
        done: called with each outcome as it arrives.

    Returns:
        One outcome per pair, in the order of ``pairs``.

    Raises:
        CkptconvError: an option that takes other values.
        TypeError: an option that a conversion does not take.

    Examples:
        >>> convert_many([("a.pt", "a.ckpt")], to="mindspore")  # doctest: +SKIP
    """
    reading, writing = _sides(options, dry_run=dry_run, stubs=stubs)
    check({"force": force})
    replace(writing, network="beside.py" if network else None).check_together()
    jobs = [
        Job(os.fsdecode(a), os.fsdecode(b), to, reading, writing, force, network) for a, b in pairs
    ]
    doubled = _doubled(jobs)
    outcomes: dict[int, Outcome] = {}
    with closing(_run(jobs, doubled, executor)) as running:
        for index, outcome in running:
            outcomes[index] = outcome
            if done is not None:
                done(outcome)
    return [outcomes[index] for index in range(len(jobs))]


def find(source: o.StrPath, target: o.StrPath, suffix: str) -> list[tuple[Path, Path]]:
    """Pair every checkpoint below a folder with its target below another, sorted by name.

    Shards that an index lists are left to their index, and targets inside ``source`` alone.

    Raises:
        OSError: a folder that cannot be read.
    """
    root, inside = Path(source), Path(target).resolve()
    above = lru_cache(lambda folder: {(real := Path(folder).resolve()), *real.parents})
    files = [
        path
        for folder, _, names in os.walk(root, onerror=_raise)
        for name in names
        if name.lower().endswith(formats.SUFFIXES)
        and os.path.isfile(path := os.path.join(folder, name))
        and inside not in above(os.path.dirname(_real(path)) if os.path.islink(path) else folder)
    ]
    shards = {Path(shard) for path in files for shard in files_of(path)[1:]}
    start = len(os.path.join(root, ""))
    return [
        (file, Path(target, os.path.dirname(path[start:]), formats.stem(path) + suffix))
        for path in sorted(files, key=lambda path: path.split(os.sep))
        if (file := Path(path)) not in shards
    ]


def _raise(error: OSError) -> NoReturn:
    raise error


def _run(
    jobs: list[Job], doubled: Mapping[int, str], executor: Executor | None
) -> Generator[tuple[int, Outcome], None, None]:
    for index, problem in doubled.items():
        job = jobs[index]
        told = f"{job.source}: {problem}; try one of them by itself"
        yield index, Outcome(job.source, job.target, FAILED, told)
    rest = [index for index in range(len(jobs)) if index not in doubled]
    shares = {share: [jobs[index] for index in share] for share in _shares(jobs, rest)}
    if executor is None:
        for share, own in shares.items():
            yield from zip(share, convert_all(own), strict=True)
        return
    futures = {
        executor.submit(_convert_pairs, own[0], [(job.source, job.target) for job in own]): share
        for share, own in shares.items()
    }
    for future in as_completed(futures):
        share = futures[future]
        try:
            yield from zip(share, future.result(), strict=True)
        except Exception as error:  # a worker that died: its jobs failed, the others go on
            text = f"the worker failed: {type(error).__name__}: {error}"
            for job, index in zip(shares[share], share, strict=True):
                yield index, Outcome(job.source, job.target, FAILED, f"{job.source}: {text}")


def _convert_pairs(job: Job, pairs: Sequence[tuple[str, str]]) -> list[Outcome]:
    """Do a job for each pair: Dask names a task after all that it is given, which takes long."""
    return convert_all([replace(job, source=source, target=target) for source, target in pairs])


def _shares(jobs: Sequence[Job], rest: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield what is done at once: to hand it over, and to wait for the disk, takes milliseconds.

    What a job makes is no source of the same share, so that it is there where shares are done in
    order.
    """
    most, share, size, made = min(_MOST, 1 + len(rest) // _SHARES), list[int](), 0, set[str]()
    for index in rest:
        if share and (
            size >= _SHARE or len(share) == most or os.path.abspath(jobs[index].source) in made
        ):
            yield tuple(share)
            share, size, made = [], 0, set()
        share.append(index)
        made |= {*map(os.path.abspath, made_by(jobs[index]))}
        with suppress(OSError, ValueError):  # its conversion will say what is wrong
            size += os.path.getsize(jobs[index].source)
    if share:
        yield tuple(share)


def _doubled(jobs: list[Job]) -> dict[int, str]:
    """Return the jobs that make what an earlier job makes, each with what that is, and of what."""
    first: dict[str, Job] = {}
    return {
        index: f"{path} is the target of {other.source} too"
        for index, job in enumerate(jobs)
        for path in made_by(job)
        if (other := first.setdefault(_real(path), job)) is not job
    }


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:  # its conversion will say that no file can have this name
        return path


def _sides(
    options: ConvertKeywords, *, dry_run: bool, stubs: Iterable[str]
) -> tuple[ReadOptions, WriteOptions]:
    reads = {field.name for field in fields(ReadOptions)}
    given: dict[str, Any] = dict(options)
    if stray := sorted({*given} - reads - {field.name for field in fields(WriteOptions)}):
        raise TypeError(f"convert_many() got an unexpected keyword argument {stray[0]!r}")
    reading = {name: value for name, value in given.items() if name in reads}
    writing = {name: value for name, value in given.items() if name not in reads}
    return ReadOptions(**reading), WriteOptions(
        **{**writing, "force": True, "check": True, "dry_run": dry_run, "stubs": stubs}
    )
