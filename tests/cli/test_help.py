"""--help of each command: every option once, under the heading where it is looked for."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from ckptconv.cli import app

COMMANDS = get_command(app).commands
FIRST = {"--output", "--mint", "--to", "--suffix", "--jobs", "--help"}
"""What a conversion shows before all headings."""


def sections(command):
    """Return heading → the long names of the options below it."""
    shown = CliRunner().invoke(app, [command, "--help"]).stdout
    parts = re.split(r"^(\w[\w ]*):\n", shown, flags=re.MULTILINE)[1:]
    return {
        heading: re.findall(r"^  (?:-\w, )?(--[\w-]+)", text, re.MULTILINE)
        for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_shown_once(name):
    command = COMMANDS[name]
    shown = [option for options in sections(name).values() for option in options]
    params = [p for p in command.params if p.param_type_name == "option"]
    assert sorted(shown) == sorted(["--help", *(p.opts[-1] for p in params)])


@pytest.mark.parametrize("name", [name for name in COMMANDS if "2" in name or name == "convert"])
def test_options_of_a_conversion_stand_under_headings(name):
    found = sections(name)
    assert list(found) == [
        *("Arguments", "Options", "The source", "Names", "Layers", "Values", "Network", "Output")
    ]
    assert set(found["Options"]) <= FIRST
    assert {"--select", "--kind"} <= set(found["The source"])
    assert {"--check", "--json"} <= set(found["Output"])


def test_options_of_the_second_file_stand_by_themselves():
    for name in ("verify", "diff"):
        found = sections(name)
        assert all(option.startswith("--target-") for option in found["The second file"])
        rest = [o for heading, options in found.items() for o in options if "second" not in heading]
        assert not [option for option in rest if option.startswith("--target-")]


def test_a_few_options_need_no_headings():
    assert list(sections("inspect")) == ["Arguments", "Options"]


def test_what_options_are_for_stands_in_one_column():
    for name in COMMANDS:
        shown = CliRunner().invoke(app, [name, "--help"], terminal_width=100).stdout
        rows = re.findall(r"^  (?:--?\w\S*(?:, --\S+)?(?: \S+)?)  +(?=\S)", shown, re.MULTILINE)
        narrow = {len(row) for row in rows if len(row) <= 34}
        assert len(narrow) == 1, (name, narrow)
