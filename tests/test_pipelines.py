"""The API in a pipeline: other processes, threads, paths of any type, nothing left behind."""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import pickle
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptconv
from ckptconv import CkptconvError

ERRORS = [getattr(ckptconv, name) for name in ckptconv.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_is_caught_in_another_process(kind: type[CkptconvError]) -> None:
    """A pool that cannot read what a worker raised is broken for all that follows."""
    taken = inspect.signature(kind).parameters
    more: dict[str, Any] = {"choices": ["a", "b"]} if "choices" in taken else {}
    more |= {"plan": None} if "plan" in taken else {}
    error = kind("cannot be done", hint="x", **more)
    error.file, error.tensor, error.others = "model.pt", "fc.weight", ("y: neither",)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_a_graph_in_another_process_closes_no_file_of_its(samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "t.ckpt"
    ckptconv.convert(samples / "tagger.pt", target, to="mindspore")
    graph, report = ckptconv.load(target), ckptconv.verify(samples / "tagger.pt", target)
    known = ckptconv.to_state_dict(graph, "torch")
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else None
    for again in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        found = ckptconv.to_state_dict(again, "torch")
        assert {name: value.tobytes() for name, value in found.items()} == {
            name: value.tobytes() for name, value in known.items()
        }
    assert pickle.loads(pickle.dumps(report)).to_dict() == report.to_dict()
    del again
    assert before is None or os.listdir("/proc/self/fd") == before
    assert ckptconv.to_state_dict(graph, "torch").keys() == known.keys(), "it is still open"
    sent = pickle.dumps(graph)
    target.write_bytes(target.read_bytes() + b"\0")
    with pytest.raises(ckptconv.ContainerError, match=r"cannot be read: .* was changed since"):
        ckptconv.to_state_dict(pickle.loads(sent), "torch")
    target.unlink()
    for again in (pickle.loads(sent), pickle.loads(pickle.dumps(pickle.loads(sent)))):
        with pytest.raises(ckptconv.ContainerError, match=r"t\.ckpt: cannot be read: No such file"):
            ckptconv.to_state_dict(again, "torch")


def test_a_path_may_be_bytes(samples: Path, tmp_path: Path) -> None:
    source, target = os.fsencode(samples / "tagger.pt"), os.fsencode(tmp_path / "t.ckpt")
    report = ckptconv.convert(source, target, to="mindspore")  # type: ignore[arg-type]
    assert report.target["path"] == os.fsdecode(target)
    assert ckptconv.verify(source, target).ok  # type: ignore[arg-type]
    ckptconv.golden(source, os.fsencode(tmp_path / "v.npz"))  # type: ignore[arg-type]


def state() -> tuple[object, ...]:
    """What a library shares with all others in a process."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    process = (dict(os.environ), os.getcwd(), np.geterr(), threading.active_count())
    return (*process, handlers, [*warnings.filters])


def test_threads_work_at_once_and_nothing_shared_is_changed(
    samples: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = samples / "tagger.pt"

    def work(number: int) -> bytes:
        target = tmp_path / f"{number % 4}.ckpt"  # two threads each have the same one
        ckptconv.convert(source, target, to="mindspore", force=True)
        assert ckptconv.diff(source, target).ok
        with pytest.raises(CkptconvError, match=r"kinds=\{'norm': 'LayerNorm'\}"):
            ckptconv.convert(source, tmp_path / f"{number}.weights.h5", to="keras")
        return target.read_bytes()

    async def together() -> list[bytes]:
        return await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(8)))

    before = state()
    made = asyncio.run(together())
    assert len({*made}) == 1
    assert state() == before
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{n}.ckpt" for n in range(4)]
