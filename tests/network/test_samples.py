"""The samples that write networks run, and print what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["sentiment_to_mindir", "torch_export_to_mindspore"])
def test_samples_of_networks(name, samples, tmp_path):
    done = subprocess.run(
        [sys.executable, str(samples / f"{name}.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(re.search(r" by (\S+)", done.stdout)[1]) < 1e-6
