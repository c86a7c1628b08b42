"""Many conversions: resumable, and one bad file does not stop the rest.

Beside each target stands its report, ``<target>.report.json``, which is also the record of what was
done: a conversion whose source, options and target are as the record says is not repeated. A record
that says ``started`` belongs to a run that was killed; its target is made again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypedDict

from ckptconv import formats, pipeline
from ckptconv import options as o
from ckptconv._version import __version__
from ckptconv.errors import CkptconvError
from ckptconv.io.atomic import atomic_path
from ckptconv.options import ReadOptions, Target, WriteOptions
from ckptconv.report import to_json
from ckptconv.tensors.writer import open_sink

if TYPE_CHECKING:
    from typing_extensions import Unpack

CONVERTED, UNCHANGED, FAILED = "converted", "unchanged", "failed"
WOULD_CONVERT = "would convert"
"""What a dry run says."""


@dataclass(frozen=True)
class Outcome:
    """What became of one pair; ``error`` is the message of a failed one."""

    source: str
    target: str
    status: str
    error: str = ""


class ConvertKeywords(TypedDict, total=False):
    """The options of ``convert`` for functions that hand them on; a test holds the two equal."""

    source: o.Framework | None
    select: str | None
    kinds: o.Pairs
    rename: o.Pairs
    map: o.StrPath | Mapping[str, str] | None
    fuse: o.Fuses
    split: Iterable[str]
    gates: str | None
    forget_bias: float
    z_convention: bool
    flat_layout: o.FlatLayout | None
    allow: Iterable[str]
    restore: o.StrPath | None
    config: o.StrPath | None
    like: o.Like | None
    like_order: bool
    fill: o.Pairs
    drop: Iterable[str]
    fold_bias: o.Pairs
    dtype: o.DTypeName | None
    fold_proj: bool
    hardware: o.Hardware | None


@dataclass(frozen=True)
class _Job:
    source: str
    target: str
    to: Target
    reading: ReadOptions
    writing: WriteOptions
    force: bool


def convert_many(
    pairs: Iterable[tuple[str | os.PathLike[str], str | os.PathLike[str]]],
    *,
    to: Target,
    executor: Executor | None = None,
    force: bool = False,
    dry_run: bool = False,
    done: Callable[[Outcome], None] | None = None,
    **options: Unpack[ConvertKeywords],
) -> list[Outcome]:
    """Convert many files; see ``convert`` for ``to`` and ``options``.

    Every target is read back and checked. Errors are outcomes, never raised.

    Args:
        pairs: (source, target) paths.
        executor: any ``concurrent.futures.Executor`` (a process pool, a Dask client's
            ``get_executor()``); by default one after the other in this process.
        force: replace targets that no record knows.
        dry_run: do everything but write; what is not done yet is ``would convert`` then.
        done: called with each outcome as it arrives.

    Returns:
        One outcome per pair, in the order of ``pairs``.

    Raises:
        CkptconvError: an option that takes other values.
        TypeError: an option that a conversion does not take.

    Example:
        >>> convert_many([("a.pt", "a.ckpt")], to="mindspore")  # doctest: +SKIP
    """
    reading, writing = _sides(options, dry_run=dry_run)
    jobs = [_Job(os.fspath(a), os.fspath(b), to, reading, writing, force) for a, b in pairs]
    doubled = _doubled(jobs)
    outcomes: dict[int, Outcome] = {}
    for index, outcome in _run(jobs, doubled, executor):
        outcomes[index] = outcome
        if done is not None:
            done(outcome)
    return [outcomes[index] for index in range(len(jobs))]


def find(
    source: str | os.PathLike[str], target: str | os.PathLike[str], suffix: str
) -> list[tuple[Path, Path]]:
    """Pair every checkpoint below a folder with its target below another, sorted by name.

    Shards that an index lists are left to their index, and targets inside ``source`` alone.
    """
    root, inside = Path(source), Path(target).resolve()
    files = sorted(
        path
        for path in root.rglob("*")
        if path.name.lower().endswith(formats.SUFFIXES)
        and path.is_file()
        and inside not in path.resolve().parents
    )
    shards = {shard for path in files if path.suffix == ".json" for shard in _shards(path)}
    return [
        (path, Path(target) / path.relative_to(root).parent / (formats.stem(path) + suffix))
        for path in files
        if path not in shards
    ]


def _shards(index: Path) -> set[Path]:
    try:
        return {Path(source.path) for source in formats.read(index).files[1:]}
    except CkptconvError:
        return set()  # its conversion will say what is wrong


def _run(
    jobs: list[_Job], doubled: set[int], executor: Executor | None
) -> Iterator[tuple[int, Outcome]]:
    for index in sorted(doubled):
        job = jobs[index]
        yield index, Outcome(job.source, job.target, FAILED, "another source has this target")
    rest = [index for index in range(len(jobs)) if index not in doubled]
    if executor is None:
        yield from ((index, _convert_one(jobs[index])) for index in rest)
        return
    futures = {executor.submit(_convert_one, jobs[index]): index for index in rest}
    for future in as_completed(futures):
        job = jobs[futures[future]]
        try:
            yield futures[future], future.result()
        except Exception as error:  # a worker that died: its job failed, the others go on
            text = f"the worker failed: {type(error).__name__}: {error}"
            yield futures[future], Outcome(job.source, job.target, FAILED, text)


def _convert_one(job: _Job) -> Outcome:
    if _Stopping.now:
        raise SystemExit
    try:
        return Outcome(job.source, job.target, _converted(job))
    except CkptconvError as error:
        return Outcome(job.source, job.target, FAILED, str(error))
    except OSError as error:
        return Outcome(job.source, job.target, FAILED, f"{job.target}: {error.strerror}")


def _converted(job: _Job) -> str:
    """Do one job, unless its record says that it is done, and return its status."""
    state, record = _state(job), _read_record(job.target)
    if record.get("batch") == {**state, "target": _identity(job.target), "state": "done"}:
        return UNCHANGED
    if os.path.lexists(job.target) and not ("batch" in record or job.force):
        raise CkptconvError("exists already", file=job.target, hint="--force to replace it")
    if job.writing.dry_run:
        pipeline.write(pipeline.read(job.source, job.reading), job.target, job.to, job.writing)
        return WOULD_CONVERT
    os.makedirs(os.path.dirname(job.target) or ".", exist_ok=True)
    with _started(job, state, record):
        graph = pipeline.read(job.source, job.reading)
        report = pipeline.write(graph, job.target, job.to, job.writing)
    entry = {**state, "target": _identity(job.target), "state": "done"}
    _write_record(job.target, {**report.to_dict(), "batch": entry})
    return CONVERTED


@contextmanager
def _started(job: _Job, state: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[None]:
    """Leave a record that a killed run began; any other end without a target leaves the old one."""
    _write_record(job.target, {"batch": {**state, "state": "started"}})
    try:
        yield
    except BaseException:
        if record:
            _write_record(job.target, record)
        else:
            os.unlink(_record_of(job.target))
        raise


class _Stopping:
    """Whether this worker process was told to stop."""

    now = False


def stoppable() -> None:
    """Make a worker process end its job cleanly, and take no other, when it is told to stop.

    For the ``initializer`` of a process pool: Ctrl-C, which reaches every process of a terminal,
    is left to the parent, which sends SIGTERM to its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)


def _stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    if not _Stopping.now:  # a second one must not interrupt the cleaning up
        _Stopping.now = True
        sys.unraisablehook = lambda _: None  # in a destructor it is lost, and the job is the last
        raise SystemExit(128 + signum)


def _doubled(jobs: list[_Job]) -> set[int]:
    """Return the jobs whose target an earlier job has."""
    seen: set[str] = set()
    doubled = set()
    for index, job in enumerate(jobs):
        target = os.path.realpath(job.target)
        if target in seen:
            doubled.add(index)
        seen.add(target)
    return doubled


def _state(job: _Job) -> dict[str, Any]:
    settings = {"to": job.to, **vars(job.reading), **vars(job.writing), "dry_run": False}
    options = json.loads(json.dumps(settings, sort_keys=True, default=_plain))
    return {"version": __version__, "source": _identity(job.source), "options": options}


def _plain(value: object) -> object:
    """Return what JSON has no words for as something that is equal whenever the value is."""
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _sides(options: ConvertKeywords, *, dry_run: bool) -> tuple[ReadOptions, WriteOptions]:
    reads = {field.name for field in fields(ReadOptions)}
    given: dict[str, Any] = dict(options)
    reading = {name: value for name, value in given.items() if name in reads}
    writing = {name: value for name, value in given.items() if name not in reads}
    return ReadOptions(**reading), WriteOptions(
        **{**writing, "force": True, "check": True, "dry_run": dry_run}
    )


def _identity(path: str) -> list[int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return [info.st_size, info.st_mtime_ns]


def _record_of(target: str) -> str:
    return target + ".report.json"


def _read_record(target: str) -> dict[str, Any]:
    try:
        record = json.loads(Path(_record_of(target)).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _write_record(target: str, record: Mapping[str, Any]) -> None:
    with atomic_path(_record_of(target), force=True) as temporary, open_sink(temporary) as sink:
        sink.write(to_json(record).encode())
