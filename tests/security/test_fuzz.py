"""A short run of the fuzzer, and every input that it ever found (``python -m tests.fuzz``)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ckptconv import formats
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
        source = formats.Source(path)
        assert formats.recognise(source).name == row.container
        assert formats.read(path).tensors
        assert sum(map(len, row.files(path).values())) <= 64 << 10


def test_inputs_are_reproducible() -> None:
    for row in FORMATS.values():
        assert row.input(7) == row.input(7)
