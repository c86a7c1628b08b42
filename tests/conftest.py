"""Settings that must be there before a framework is imported, and paths."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("GLOG_v", "3")

pytest.register_assert_rewrite(
    "tests.networks", "tests.codegen.support", "tests.formats.keras.h5_files"
)

ROOT = Path(__file__).resolve().parents[1]
HANGS = 600
"""Seconds after which a process hangs: five frameworks on two processors take ten times as long."""


@pytest.fixture(autouse=True)
def mindspore_at_once():
    """Let MindSpore compute in this thread: waiting for its others takes most of a small model."""
    mindspore = sys.modules.get("mindspore")
    if hasattr(mindspore, "set_context"):
        mindspore.set_context(pynative_synchronize=True)


@pytest.fixture(scope="session")
def samples() -> Path:
    return ROOT / "samples"


@pytest.fixture(scope="session")
def real() -> Path:
    """Return the folder of third-party checkpoints, or skip."""
    folder = ROOT.parent / "shared" / "real"
    if not folder.is_dir():
        pytest.skip("the third-party checkpoints are not on this machine")
    return folder
