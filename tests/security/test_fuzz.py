"""A short run of the fuzzer, and every input that it ever found (``python -m tests.fuzz``)."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ckptconv import api, formats
from ckptconv.errors import AmbiguousKindError
from tests.conftest import ROOT
from tests.fuzz import watch
from tests.fuzz.formats import FORMATS
from tests.fuzz.target import exercise

REGRESSIONS = sorted(ROOT.joinpath("tests", "fuzz", "regressions").iterdir())


@pytest.mark.parametrize("name", FORMATS)
def test_mutated_files_are_refused_or_read(name: str) -> None:
    result = watch.run(name, 0, 50)
    assert result.findings == []
    assert result.count == 50
    assert result.outcomes["refused"] > 10
    assert result.outcomes["converted"] > 0
    assert result.memory < 256


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.name)
def test_what_was_found_stays_repaired(tmp_path: Path, path: Path) -> None:
    file = shutil.copy(path, tmp_path)
    for number in range(0, 42, 7):
        exercise(Path(file), number)


@pytest.mark.parametrize("name", FORMATS)
def test_seeds_are_whole_and_small(name: str) -> None:
    """Damage done to a file that cannot be read proves little."""
    row = FORMATS[name]
    assert row.container in {known.name for known in formats.FORMATS}
    assert len(row.sources()) > 0
    for path in row.sources():
        source = formats.File(path)
        assert formats.recognise(source).name == row.container
        assert formats.read(path).tensors
        assert sum(map(len, row.files(path).values())) <= 64 << 10


def test_what_to_try_for_a_long_name_is_short_and_works(tmp_path: Path) -> None:
    source = str(tmp_path / "long.safetensors")
    save_file({f"{'deep.' * 900}weight": np.arange(1.0, 6, dtype="f4")}, source)
    options = {"to": "keras", "dry_run": True}
    with pytest.raises(AmbiguousKindError) as caught:
        api.convert(source, tmp_path / "target.h5", **options)
    assert len(str(caught.value)) < 4000
    told = str(caught.value).partition("try ")[2].split(" or ")[0]
    api.convert(source, tmp_path / "target.h5", **options, **eval(f"dict({told})"))


def test_inputs_are_reproducible() -> None:
    for row in FORMATS.values():
        assert row.input(7) == row.input(7)
