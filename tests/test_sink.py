"""The streaming writer against a byte array that is written the plain way."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptconv import sink as sinks
from ckptconv.sink import open_sink
from ckptconv.source import Source
from ckptconv.tensor import ArrayTensor, FileTensor

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
@pytest.mark.parametrize("direct", [True, False])
def test_any_sequence_of_writes(folder, direct, steps, seed):
    rng = np.random.default_rng(seed)
    noise = rng.integers(1, 256, 40_000, np.uint8)
    (folder / "source").write_bytes(noise.tobytes())
    source, path, expected = Source(folder / "source"), folder / "target", bytearray()
    path.write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sinks, "_SIZE", 8192)  # so that buffers fill and go around
        if not direct:
            patch.setattr(sinks._Writer, "_open_direct", staticmethod(lambda _: None))
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
                    tensor = FileTensor(source, start, (size,), np.dtype("u1"))
                    crc = sink.write_tensor(tensor, crc=0)
                    part = noise[start : start + size].tobytes()
                    assert crc == sinks.zlib.crc32(part)
                    expected += part
                elif len(expected) > size:
                    at = int(rng.integers(0, len(expected) - size))
                    sink.patch(at, b"\xee" * size)
                    expected[at : at + size] = b"\xee" * size
                assert sink.position == len(expected)
    written = path.read_bytes()
    assert written.ljust(len(expected), b"\0") == bytes(expected)


def test_computed_values_of_any_layout(folder):
    array = np.arange(300 * 70, dtype="f4").reshape(300, 70)
    path = folder / "computed"
    path.touch()
    with open_sink(str(path)) as sink:
        sink.write(b"abc")
        sink.write_tensor(ArrayTensor(array.T))
        sink.write_tensor(ArrayTensor(np.array(5.0)))
    expected = b"abc" + np.ascontiguousarray(array.T).tobytes() + np.array(5.0).tobytes()
    assert path.read_bytes() == expected


def test_an_error_of_the_disk_is_raised(folder, monkeypatch):
    path = folder / "full"
    path.touch()

    def refuse(*_):
        raise OSError(28, os.strerror(28))

    def fill():
        with open_sink(str(path)) as sink:
            for _ in range(40):
                sink.write(bytes(1 << 20))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(OSError, match="No space left"):
        fill()
