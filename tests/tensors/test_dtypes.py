import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from ckptconv.errors import CkptconvError
from ckptconv.tensors.dtypes import NARROW, DTypes, is_bfloat16, is_float, named

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
    named.cache_clear()
    with pytest.raises(CkptconvError, match=r"a newer ml_dtypes.*float8_e8m0fnu"):
        named("float8_e8m0fnu")


def test_what_holds_no_narrow_numbers_does_not_import_them() -> None:
    code = "import sys, ckptconv, ckptconv.formats, ckptconv.formats.mindspore"
    code += ", ckptconv.formats.safetensors; print('ml_dtypes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
