"""The streaming writer against a byte array that is written the plain way."""

from __future__ import annotations

import os
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptconv.io import behind, platform
from ckptconv.io.reader import File
from ckptconv.tensors import writer as sinks
from ckptconv.tensors.dtypes import of
from ckptconv.tensors.tensor import ArrayTensor, FileTensor
from ckptconv.tensors.writer import open_sink

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 40_000)),
        st.tuples(st.just("skip"), st.integers(0, 9_000)),
        st.tuples(st.just("patch"), st.integers(1, 50)),
        st.tuples(st.just("copy"), st.integers(1, 30_000)),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sink")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps=STEPS, seed=st.integers(0, 9))
def test_any_sequence_of_writes(folder, steps, seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(1, 256, 40_000, np.uint8)
    (folder / "source").write_bytes(noise.tobytes())
    source, path, expected = File(folder / "source"), folder / "target", bytearray()
    path.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("SIZE", 8192), ("PIECE", 1024)):
            patch.setattr(sinks, name, size)  # so that buffers fill and go around
            patch.setattr(behind, name, size)
        for name, size in (("_STEP", 4096), ("_WINDOW", 8192)):
            patch.setattr(behind, name, size)
        with open_sink(str(path)) as sink:
            for step, size in steps:
                if step == "write":
                    sink.write(noise[:size].tobytes())
                    expected += noise[:size].tobytes()
                elif step == "skip":
                    sink.seek(sink.position + size)
                    expected += bytes(size)
                elif step == "copy":
                    start = int(rng.integers(0, 40_000 - size))
                    tensor = FileTensor(source, start, (size,), of("u1"))
                    crc = sink.write_tensor(tensor, crc=0)
                    part = noise[start : start + size].tobytes()
                    assert crc == zlib.crc32(part)
                    expected += part
                elif len(expected) > size:
                    at = int(rng.integers(0, len(expected) - size))
                    sink.patch(at, b"\xee" * size)
                    expected[at : at + size] = b"\xee" * size
                assert sink.position == len(expected)
    written = path.read_bytes()
    assert written.ljust(len(expected), b"\0") == bytes(expected)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1"])
@pytest.mark.parametrize("rows", [1, 2, 3, 127, 128, 129, 1300])
def test_computed_values_of_any_layout(folder, dtype, rows):
    array = np.random.default_rng(rows).integers(1, 250, (700, rows)).astype(dtype)
    written = [array.T, np.array(5.0), array[:, ::-1].T, array[::2], np.zeros((0, 3), dtype)]
    path = folder / "computed"
    path.write_bytes(b"")
    with open_sink(str(path)) as sink:
        sink.write(b"abc")
        crcs = [sink.write_tensor(ArrayTensor(part), crc=7) for part in written]
    plain = [np.ascontiguousarray(part).tobytes() for part in written]
    assert path.read_bytes() == b"abc" + b"".join(plain)
    assert crcs == [zlib.crc32(part, 7) for part in plain]


def test_an_error_of_the_disk_is_raised(folder, monkeypatch):
    path = folder / "full"
    path.touch()

    def refuse(*_):
        raise OSError(28, os.strerror(28))

    def fill():
        with open_sink(str(path)) as sink:
            for _ in range(40):
                sink.write(bytes(1 << 20))

    monkeypatch.setattr(platform, "pwrite", refuse)
    with pytest.raises(OSError, match="No space left"):
        fill()


def test_small_and_large_runs_far_apart(folder):
    """A buffer is filled again only when it has been written."""
    path, rng = folder / "apart", np.random.default_rng(5)
    path.write_bytes(b"")
    expected = bytearray()
    with open_sink(str(path)) as sink:
        for size in [3 << 20, 10, 400_000, 5, 7, 300_000, 12, 1, 2, 3, 2_500_000, 9] * 4:
            run = rng.integers(0, 256, size, np.uint8)
            sink.seek(len(expected) + 100)
            sink.write_tensor(ArrayTensor(run))
            expected += bytes(100) + run.tobytes()
    assert path.read_bytes() == bytes(expected)


def test_an_interrupt_while_the_thread_starts(folder, monkeypatch):
    def interrupted(thread):
        start(thread)
        thread._started.clear()  # as if it had not come that far
        raise KeyboardInterrupt

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    (folder / "interrupted").write_bytes(b"")
    big = ArrayTensor(np.zeros(3 * sinks.SIZE, np.uint8))
    with pytest.raises(KeyboardInterrupt), open_sink(str(folder / "interrupted")) as sink:
        sink.write_tensor(big)
