import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from ckptconv.errors import CkptconvError
from ckptconv.tensors.dtypes import NARROW, DTypes, is_bfloat16, is_float, named, of

NUMPY = ("float16", "float32", "float64", "int8", "uint64", "complex64", "bool")


@pytest.mark.parametrize("name", [*NUMPY, *NARROW])
def test_a_name_stands_for_its_dtype(name: str) -> None:
    dtype = named(name)
    assert dtype == np.dtype(getattr(ml_dtypes, name, name))
    assert dtype.name == name
    assert is_float(dtype) == ("float" in name)
    assert is_bfloat16(dtype) == (name == "bfloat16")


def test_of_two_names_for_one_dtype_the_first_is_written() -> None:
    table = DTypes({"F": "float32", "I": "int8", "Q": "int8"})
    assert {name: table[name] for name in table} == {
        "F": np.float32,
        "I": np.int8,
        "Q": np.int8,
    }
    assert [table.name(named(n)) for n in ("int8", "float32", "int16")] == ["I", "F", None]


def test_an_old_ml_dtypes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ml_dtypes, "float8_e8m0fnu")
    with pytest.raises(CkptconvError, match=r"a newer ml_dtypes.*float8_e8m0fnu"):
        named("float8_e8m0fnu")


@pytest.mark.parametrize("name", [*NUMPY, *NARROW, "longdouble"])
def test_there_is_one_object_for_each_dtype_in_each_order(name: str) -> None:
    dtype = named(name)
    assert of(dtype) is of(dtype.dtype) is of(np.zeros(2, dtype).dtype) is dtype
    assert pickle.loads(pickle.dumps(dtype)) is copy.deepcopy(dtype) is dtype.little is dtype
    big = dtype.big
    assert pickle.loads(pickle.dumps(big)) is big.big is big
    assert big.little is dtype
    assert of(big.dtype) is big
    assert (big is dtype) == (dtype.itemsize == 1) == (big == dtype)
    assert (big.name, big.itemsize) == (dtype.dtype.name, dtype.dtype.itemsize)
    assert big.kind == ("V" if name in NARROW else dtype.dtype.kind)


@pytest.mark.parametrize("name", [name for name in NUMPY if name not in ("int8", "bool")])
def test_numpy_takes_either_order(name: str) -> None:
    big, values = named(name).big, np.arange(3).astype(name)
    assert of(big.dtype) is big
    swapped = values.astype(big)
    assert swapped.tobytes() == values.byteswap().tobytes()
    np.testing.assert_array_equal(np.frombuffer(swapped.tobytes(), big), values)


def test_what_is_no_dtype_equals_none() -> None:
    assert [named("float64") == other for other in (None, "float", np.float64, "no", 3)] == [
        False, True, True, False, False
    ]  # fmt: skip
    with pytest.raises(TypeError):
        named("no such")


def test_the_formats_import_no_numbers() -> None:
    code = "import sys, ckptconv, ckptconv.formats, ckptconv.formats.mindspore"
    code += ", ckptconv.formats.safetensors; print({'numpy', 'ml_dtypes'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()"]
