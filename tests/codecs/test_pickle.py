"""The pickle machine: plain data as Python reads it, everything else inert, attacks refused."""

from __future__ import annotations

import collections
import contextlib
import enum
import os
import pickle
import struct
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptconv.codecs.pickle.machine import PickleMachine
from ckptconv.codecs.pickle.numpy_arrays import as_array
from ckptconv.codecs.pickle.objects import Dict, Instance, Name
from ckptconv.errors import ContainerError
from tests.conftest import ROOT
from tests.noise import noisy


class Thing:
    def __init__(self, value: object) -> None:
        self.value = value


class Bag(dict):  # type: ignore[type-arg]
    """A subclass of dict, whose items are set one by one."""


class Row(list):  # type: ignore[type-arg]
    """A subclass of list, whose items are appended."""


class Kind(enum.Enum):
    RED = 3


class Evil:
    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def run(data: bytes, **options: Any) -> Any:
    return PickleMachine(data, "file", **options).run()


SHARED = ["shared"]
PLAIN = [
    None,
    True,
    False,
    0,
    255,
    256,
    65536,
    -1,
    -(1 << 31),
    1 << 40,
    -(1 << 70),
    1.5,
    float("inf"),
    "text",
    "ünï ☃ 😀",
    "line\nbreak \\u1234",
    b"bytes \x00\xff",
    b"x" * 300,
    "y" * 300,
    (),
    (1,),
    (1, 2),
    (1, 2, 3),
    (1, 2, 3, 4),
    [],
    [1, [2, [3]]],
    {},
    {"a": 1, 2: "b", None: {"c": (1, 2)}, 1.5: [], b"k": True},
    [SHARED, SHARED, (SHARED,)],
    {f"k{i}": i for i in range(3000)},
    list(range(3000)),
    collections.OrderedDict([("z", 1), ("a", 2)]),
    collections.Counter("abca"),
    collections.defaultdict(list, a=[1]),
]


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_what_python_reads(protocol: int) -> None:
    for value in PLAIN:
        assert run(pickle.dumps(value, protocol)) == value
    assert run(pickle.dumps(bytearray(b"abc"), protocol)) == b"abc"
    for value in ({1, 2}, frozenset([1, 2])):
        assert sorted(run(pickle.dumps(value, protocol))) == [1, 2]


@pytest.mark.parametrize("protocol", range(6))
def test_python_writer_without_c_gives_the_same(protocol: int) -> None:
    """The pure-Python pickler memoizes and frames differently."""
    for value in PLAIN:
        assert run(pickle._dumps(value, protocol)) == value  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", range(6))
def test_objects_are_inert(protocol: int) -> None:
    thing = run(pickle.dumps(Thing([1, {"a": 2}]), protocol))
    assert isinstance(thing, Instance)
    assert thing.class_name.endswith("test_pickle.Thing")
    assert thing.state == {"value": [1, {"a": 2}]}
    bag = run(pickle.dumps(Bag(a=1, b=2), protocol))
    assert isinstance(bag, Instance)
    assert bag.mapping == {"a": 1, "b": 2} or protocol < 2
    row = run(pickle.dumps(Row([1, 2]), protocol))
    assert row.listing == [1, 2] or protocol < 2
    kind = run(pickle.dumps(Kind.RED, protocol))
    assert isinstance(kind, Instance)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numpy_arrays_and_scalars(protocol: int) -> None:
    arrays = [
        np.arange(6, dtype="<f4").reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        np.array(True),
        np.float64(1.25),
        np.zeros((0, 3), "u8"),
    ]
    for array in arrays:
        found = as_array(run(pickle.dumps(array, protocol)))
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype
    for bad in (np.array(["text"]), np.array([None]), np.zeros(3, "M8[s]")):
        with pytest.raises((TypeError, ValueError)):
            as_array(run(pickle.dumps(bad, protocol)))


def test_old_python_strings() -> None:
    assert run(b"U\x03abc.") == "abc"
    assert run(b"U\x02\xff\xfe.") == b"\xff\xfe"
    assert run(b"S'a\\n\\x41'\n.") == "a\nA"
    assert run(b"T\x03\0\0\0abc.") == "abc"
    named = run(b"c__builtin__\nobject\n.")
    assert isinstance(named, Name)
    assert named.full == "builtins.object"


def test_mappings_keep_their_attributes_and_old_pairs() -> None:
    value: Any = collections.OrderedDict(a=1)
    value._metadata = {"": {"version": 2}}
    found = run(pickle.dumps(value, 2))
    assert isinstance(found, Dict)
    assert found.state == {"_metadata": {"": {"version": 2}}}
    assert run(b"ccollections\nOrderedDict\n(](](X\1\0\0\0aK\1eetR.") == {"a": 1}


def test_persistent_ids_go_to_the_caller() -> None:
    assert run(b"(K\1K\2tQ.", persistent=lambda pid: ("seen", pid)) == ("seen", (1, 2))
    with pytest.raises(ContainerError, match="a persistent id"):
        run(b"K\1Q.")


def test_a_known_call_is_made_and_an_unknown_one_is_not() -> None:
    data = b"cos\nsystem\n(X\4\0\0\0echotR."
    assert run(data).args == ("echo",)
    assert run(data, calls={"os.system": lambda text: text.upper()}) == "ECHO"


def test_several_pickles_in_a_row() -> None:
    data = pickle.dumps("one", 2) + pickle.dumps([2], 2) + b"rest"
    first = PickleMachine(data, "file")
    assert first.run() == "one"
    second = PickleMachine(data, "file", position=first.position)
    assert second.run() == [2]
    assert data[second.position :] == b"rest"


def test_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    calls = [
        (os.system, f"touch {mark}"),
        (eval, f"open({str(mark)!r}, 'w')"),
        (subprocess.call, ["touch", str(mark)]),
        (Path.touch, mark),
        (getattr, "os", "system"),
        (__import__, "antigravity"),
    ]
    for protocol in range(6):
        for function, *args in calls:
            data = pickle.dumps({"a": Evil(function, *args)}, protocol)
            assert isinstance(run(data)["a"], Instance)
    assert not mark.exists()
    assert "antigravity" not in sys.modules


BAD = {
    "empty": b"",
    "no stop": b"K\1",
    "unknown opcode": b"\xff.",
    "extension": b"\x82\x01.",
    "out of band": b"\x97.",
    "empty stack": b".",
    "no mark": b"K\1t.",
    "mark as value": b"(.",
    "memo jump": b"j\xff\xff\xff\x7f.",
    "memo without value": b"q\0.",
    "length beyond the end": b"X\xff\xff\xff\x7fabc.",
    "negative length": b"T\xff\xff\xff\xffabc.",
    "64-bit length": b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
    "long of 2 GiB": b"\x8b\xff\xff\xff\x7f.",
    "invalid text": b"X\2\0\0\0\xff\xfe.",
    "invalid unicode escape": b"V\\u12\n.",
    "many digits": b"I" + b"9" * 5000 + b"\n.",
    "no number": b"Iabc\n.",
    "no float": b"Fabc\n.",
    "unquoted": b"Sabc\n.",
    "line without end": b"c" + b"a" * 9000 + b".",
    "append to a tuple": b")K\1a.",
    "set an item of a list": b"]K\1K\2s.",
    "an odd number of items": b"}(K\1u.",
    "a list as key": b"}]K\1s.",
    "a dict as key": b"}}K\1s.",
    "a nested tuple as key": b"})\x85\x85K\1s.",
    "a key twice": b"}(K\1K\2K\1K\3u.",
    "build a list": b"]}b.",
    "arguments that are no tuple": b"cos\nsystem\n]R.",
    "call with bad arguments": b"ccollections\nOrderedDict\n(K\1tR.",
    "stack global of numbers": b"K\1K\2\x93.",
    "short double": b"G1234.",
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_damage_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(ContainerError, match=r"^file: (damaged pickle|a pickle that)"):
        run(data)


def test_every_truncation_and_much_noise_is_one_kind_of_error() -> None:
    value = {"a": [1, 2.5, "x", (1, 2)], "b": Thing({1: b"2"}), "c": collections.OrderedDict(x=1)}
    for protocol in range(6):
        data = pickle.dumps(value, protocol)
        for size in range(len(data)):
            with pytest.raises(ContainerError):
                run(data[:size])
        for changed in noisy(data, seed=3 + protocol, rounds=1500, flips=2):
            with contextlib.suppress(ContainerError):
                run(changed)


def test_keys_that_a_file_could_make_collide_become_text() -> None:
    huge = (1 << 61) - 1
    keys = {i * huge: i for i in range(200)}
    assert len(run(pickle.dumps(keys))) == 200
    assert run(pickle.dumps({(1, "a"): 2})) == {"(1, 'a')": 2}


def _colliding(count: int) -> bytes:
    """Integers with one hash."""
    keys = ((i * ((1 << 61) - 1)).to_bytes(11, "little", signed=True) for i in range(count))
    return b"}(" + b"".join(b"\x8a\x0b" + key + b"N" for key in keys) + b"u."


def _repeated(made: bytes, use: bytes, count: int = 20_000) -> bytes:
    """Objects, memoized as 1 and so on, and an opcode's use of them over and over."""
    return made + b"0(" + use * count + b"l."


def _numbers(count: int) -> bytes:
    return b"".join(b"J" + struct.pack("<i", i) + b"K\0\x86" for i in range(count))


_LONG = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
_WIDE = b"X" + struct.pack("<I", 1 << 22) + b"a" * ((1 << 22) - 4) + "😀".encode()
HOSTILE: dict[str, Callable[[], bytes]] = {
    "a deep tuple as key": lambda: b"})" + b"\x85" * 2_000_000 + b"K\1s.",
    "deep lists": lambda: b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "deep objects": lambda: b"ca\nb\nq\0)R" + b"\x85h\0\x85R" * 200_000 + b".",
    "many dicts": lambda: b"}" * 1_000_000 + b".",
    "many names": lambda: b"".join(b"c%x\nb\n" % i for i in range(300_000)) + b".",
    "many memos": lambda: (
        b"N" + b"".join(b"r" + struct.pack("<I", i * 7) for i in range(500_000)) + b"."
    ),
    "wide text": lambda: _WIDE * 15,
    "colliding keys": lambda: _colliding(40_000),
    "a list that becomes many dicts": lambda: _repeated(
        b"ccollections\nOrderedDict\nq\1]q\2(" + _numbers(20_000) + b"e", b"h\1h\2\x85R"
    ),
    "a list that becomes many lists": lambda: _repeated(
        b"cbuiltins\nset\nq\1]q\2(" + b"K\0" * 200_000 + b"e", b"h\1h\2\x85R"
    ),
    "a text that is encoded often": lambda: _repeated(
        b"c_codecs\nencode\nq\1" + _LONG + b"q\2X\5\0\0\0utf-8q\3",
        b"h\1h\2h\3\x86R",
    ),
    "many arguments, often": lambda: _repeated(
        b"ca\nb\nq\1}K\1K\1sq\3(" + b"K\0" * 200_000 + b"tq\2", b"h\1h\2h\3\x92"
    ),
    "many arguments of a known call": lambda: _repeated(
        b"ccollections\ndefaultdict\nq\1(" + b"K\0" * 200_000 + b"tq\2", b"h\1h\2R"
    ),
    "a long text in a tuple as many keys": lambda: _repeated(_LONG + b"\x85q\2", b"}h\2K\1s"),
    "nothing, for long": lambda: b"N0" * (2 << 20) + b".",
}


def test_hostile_pickles_take_bounded_time_and_memory(tmp_path: Path) -> None:
    for name, make in HOSTILE.items():
        (tmp_path / name).write_bytes(make())
    script = """
        import pathlib, resource, sys
        from ckptconv.codecs.pickle.machine import PickleMachine
        from ckptconv.errors import ContainerError
        resource.setrlimit(resource.RLIMIT_CPU, (45, 45))
        for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
            data = path.read_bytes()
            try:
                PickleMachine(data, "file").run()
            except ContainerError as error:
                assert str(error).startswith("file: "), error
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 256 << 10
