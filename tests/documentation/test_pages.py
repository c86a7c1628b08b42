"""The documentation is true: every command and every piece of code on its pages is run here."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import ckptconv
from ckptconv.cli import app
from tests.conftest import ROOT
from tests.documentation.blocks import RUN, SHOWN, alike, blocks, corrected, links, steps
from tests.documentation.generated import TABLES, filled, marked
from tests.documentation.pages import PAGES, run

NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_shows_is_what_is_printed(name, tmp_path):
    for framework in ("torch", "mindspore", "keras"):
        pytest.importorskip(framework)
    assert run(ROOT / name, tmp_path) == (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_those_of_the_code_and_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert filled(text) == text
    assert {block.language for block in blocks(text)} <= {*RUN, *SHOWN}
    for link in links(text):
        assert (ROOT / name).parent.joinpath(link).exists(), link


def test_every_table_stands_somewhere():
    assert {table for name in NAMES for table in marked((ROOT / name).read_text())} == set(TABLES)


def test_every_command_is_shown_and_every_public_name_described():
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in NAMES]
    shown = {
        s.command.split()[1]
        for t in texts
        for b in blocks(t)
        for s in steps(b.content)
        if s.command.startswith("ckptconv ")
    }
    assert {command.name for command in app.registered_commands} <= shown
    described = re.findall(r"^::: ckptconv\.(\w+)$", "\n".join(texts), re.MULTILINE)
    assert sorted(described) == sorted(ckptconv.__all__)


def test_the_site_is_built_without_a_warning(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    command = ["mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml", "-d", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    assert "flat_layout" in (tmp_path / "site/api/index.html").read_text()


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n", "a\nb\n", False),
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("…\n", "", True),
        ("a\n…\n", "b\n", False),
        ("took … s (3)\n", "took 1.5 s (3)\n", True),
        ("took … s (3)\n", "took 1.5 s (4)\n", False),
        ("off by 1.2e-07\n", "off by 8e-08\n", True),
        ("off by 1.2e-07\n", "off by 0.0\n", True),
        ("off by 0.0\n", "off by 1.2e-07\n", True),
        ("off by 0.0\n", "off by 0.01\n", False),
        ("off by 1.2e-07\n", "off by 1.2e-03\n", False),
        ("off by 1.2e-03\n", "off by 1.3e-03\n", False),
    ],
)
def test_what_counts_as_the_same_output(shown, printed, same):
    assert alike(shown, printed) is same


def test_what_is_left_out_stays_left_out():
    shown = "a\n…\nc 1.2…\nd\n"
    assert corrected(shown, "a\nb\nc 1.25\nd\n") == shown
    assert corrected(shown, "a\nb\nc 1.25\nnew\n") == "a\n…\nc 1.2…\nnew\n"
    assert corrected("a\n…\n", "b\nc\nd\n") == "b\n…\n"
    assert corrected("x\na\n…\ne\n", "x\nb\nc\nd\n") == "x\nb\n…\nd\n"
    assert corrected("a\n", "b\n") == "b\n"
    assert corrected("", "b\n") == "b\n"


def test_a_page_that_is_wrong_is_put_right(tmp_path):
    page = tmp_path / "page.md"
    text = """\
```python
print("five")
```

```console
$ echo one \\
> two; false
three
$ ckptconv --version
ckptconv …
```
"""
    page.write_text(text)
    (tmp_path / "run").mkdir()
    right = run(page, tmp_path / "run")
    assert right == text.replace(
        "```\n\n```console", "```\n\n```output\nfive\n```\n\n```console"
    ).replace("three\n", "one two\n[exit code 1]\n")
    assert [step.command for step in steps(blocks(right)[-1].content)] == [
        "echo one \\\ntwo; false",
        "ckptconv --version",
    ]
