"""One conversion of many: its record beside the target, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from ckptconv import formats, pipeline
from ckptconv._version import __version__
from ckptconv.codecs.json import to_json
from ckptconv.errors import CkptconvError, exists_already
from ckptconv.io.atomic import Files, atomic_path, begun, check_name
from ckptconv.options import ReadOptions, Target, WriteOptions
from ckptconv.report import Report
from ckptconv.tensors.writer import write_text

CONVERTED, UNCHANGED, FAILED = "converted", "unchanged", "failed"
WOULD_CONVERT = "would convert"
"""What a dry run says."""
_OURS = '{"batch": {}}'
"""The record of a target of which is known only that a batch made it."""


@dataclass(frozen=True)
class Outcome:
    """What became of one pair.

    Attributes:
        source: its first path.
        target: its second path; beside it stands the report, ``<target>.report.json``.
        status: ``converted``, ``unchanged``, ``would convert`` (in a dry run) or ``failed``.
        error: the message of a failed one, else empty.
    """

    source: str
    target: str
    status: str
    error: str = ""


@dataclass(frozen=True)
class Job:
    """What is to be done with one pair."""

    source: str
    target: str
    to: Target
    reading: ReadOptions
    writing: WriteOptions
    force: bool
    network: bool = False


def convert_all(jobs: Sequence[Job]) -> list[Outcome]:
    """Do jobs side by side: once all are written, the disk is waited for.

    What is wrong with one is its outcome.
    """
    synced: set[str] = set()
    running = [_strides(job, synced) for job in jobs]
    ended: dict[int, Outcome] = {}
    _Worker.at_work = True  # and may be stopped
    try:
        while len(ended) < len(jobs):
            for index, job in enumerate(jobs):
                if index not in ended and (outcome := _advanced(job, running[index])):
                    ended[index] = outcome
    finally:
        for strides in running:
            strides.close()
        _Worker.at_work = False
    return [ended[index] for index in range(len(jobs))]


def _advanced(job: Job, strides: Iterator[None]) -> Outcome | None:
    """Let a job take its next stride, and return how it ended if that was its last."""
    if _Worker.stopped:
        raise SystemExit
    try:
        next(strides)
    except StopIteration as end:
        return Outcome(job.source, job.target, end.value)
    except CkptconvError as error:
        return Outcome(job.source, job.target, FAILED, str(error))
    except MemoryError:
        return Outcome(job.source, job.target, FAILED, f"{job.source}: out of memory")
    except OSError as error:
        return Outcome(job.source, job.target, FAILED, f"{job.target}: {error.strerror}")
    return None


def _strides(job: Job, synced: set[str]) -> Generator[None, None, str]:
    """Do one job, unless its record says that it is done, and return its status.

    It pauses where its files are written, and where they have their names.
    """
    check_name(job.source, "opened")
    check_name(job.target, "written")
    state, record = _state(job), _read_record(job.target)
    if record.get("batch") == {**state, **_made(job)}:
        return UNCHANGED
    for path in made_by(job):
        if os.path.lexists(path) and not ("batch" in record or job.force):
            raise exists_already(path)
    if job.writing.dry_run:
        _write(job)
        return WOULD_CONVERT
    os.makedirs(os.path.dirname(job.target) or ".", exist_ok=True)
    with _recording(job, ours="batch" in record) as temporary, closing(Files()) as files:
        with files.gathered():
            report = _write(job).to_dict()
        yield
        files.take_names()
        yield
        files.sync_folders(synced)
        record = {**report, "batch": {**state, **_made(job)}}
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(to_json(record))
    return CONVERTED


def _write(job: Job) -> Report:
    if job.network:
        from ckptconv import networks

        writing = replace(job.writing, network=_network_of(job))
        return networks.convert(job.source, job.target, job.to, job.reading, writing)
    graph = pipeline.read(job.source, job.reading)
    return pipeline.write(graph, job.target, job.to, job.writing)


def _network_of(job: Job) -> str:
    return os.path.splitext(job.target)[0] + ".py"


def made_by(job: Job) -> list[str]:
    """Return the paths of the files that a job makes."""
    return [job.target, *([_network_of(job)] if job.network else ())]


def _made(job: Job) -> dict[str, Any]:
    """Return how the files that a job makes are known again."""
    network = {"network": _identity(_network_of(job))} if job.network else {}
    return {"target": _identity(job.target), **network}


@contextmanager
def _recording(job: Job, *, ours: bool) -> Iterator[str]:
    """Yield the file that becomes the record; a killed run leaves it, for a sign that it began."""
    before, path = _identity(job.target), _record_of(job.target)
    try:
        with atomic_path(path, force=True, durable=False) as temporary:
            yield temporary
    except BaseException:
        if (ours or _identity(job.target) != before) and not os.path.lexists(path):
            write_text(path, _OURS, force=True, durable=False)
        raise


class _Worker:
    """What this worker process is at.

    Attributes:
        at_work: whether it does a job, and is not being handed one: whoever stops amid that leaves
            half a message to the next worker, which then reads nonsense or for ever.
        stopped: whether it was told to stop.
    """

    at_work = stopped = False


def stoppable() -> None:
    """Make a worker process end its job cleanly, and do no other, when it is told to stop.

    For the ``initializer`` of a process pool: Ctrl-C and the end of a terminal, which reach every
    process of it, are left to the parent, which sends SIGTERM to its workers.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)


def _stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    first, _Worker.stopped = not _Worker.stopped, True
    if first and _Worker.at_work:  # a second one must not interrupt the cleaning up
        sys.unraisablehook = lambda _: None  # in a destructor it is lost, and the job is the last
        raise SystemExit(128 + signum)


def _state(job: Job) -> dict[str, Any]:
    changed_nothing = {"dry_run": False, "progress": None}
    settings = {"to": job.to, **vars(job.reading), **vars(job.writing), **changed_nothing}
    options = json.loads(json.dumps(settings, sort_keys=True, default=_plain))
    file, *shards = files_of(formats.split_member(job.source)[0])
    named = (job.reading.map, job.reading.restore, job.reading.config, job.writing.like)
    others = [*shards, *(os.fsdecode(one) for one in named if isinstance(one, str | os.PathLike))]
    beside = {"beside": [_identity(path) for path in others]} if others else {}
    return {"version": __version__, "source": _identity(file), "options": options, **beside}


def files_of(source: str) -> list[str]:
    """Return a file, and what it names where it is an index."""
    shards: list[str] = []
    if source.endswith(".json"):
        with suppress(CkptconvError):  # its conversion will say what is wrong
            shards = [file.path for file in formats.read(source).files[1:]]
    return [source, *shards]


def _plain(value: object) -> object:
    """Return what JSON has no words for as something that is equal whenever the value is."""
    return sorted(value) if isinstance(value, frozenset) else str(value)


def _identity(path: str) -> list[int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return [info.st_size, info.st_mtime_ns]


def _record_of(target: str) -> str:
    return target + ".report.json"


def _read_record(target: str) -> dict[str, Any]:
    path = _record_of(target)
    try:
        with open(path, "rb") as file:  # no Path, which keeps its parts for longer
            record = json.loads(file.read() or _OURS)  # emptied by a power failure
    except (OSError, ValueError):
        record = json.loads(_OURS) if begun(path) else {}
    return record if isinstance(record, dict) else {}
