"""``ckptconv match``: on a screen, as a map, as JSON."""

from __future__ import annotations

import json
import shlex

import pytest
import torch
from torch import nn

from tests.cli.test_cli import run, validate

LIKE = "0.weight (4, 4)\n1.weight (4, 4)\nln.gamma (4,)\nln.beta (4,)\nnew.weight (3, 3)\n"


@pytest.fixture
def files(tmp_path):
    layers = nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 4, bias=False), nn.LayerNorm(4)
    torch.save(nn.Sequential(*layers).state_dict(), tmp_path / "m.pt")
    (tmp_path / "like.txt").write_text(LIKE)
    return tmp_path / "m.pt", tmp_path / "like.txt"


def test_a_plan_on_a_screen_in_json_and_as_a_map(files, tmp_path):
    out, _ = run("match", *files, "-o", tmp_path / "map.toml")
    assert out.splitlines()[0] == "1 forced, 2 proposed, 0 ambiguous, 1 impossible"
    assert "forced     3 → ln: the only one of its structure on either side" in out
    assert "by its name it would be" not in out.splitlines()[1]
    text = (tmp_path / "map.toml").read_text()
    assert text.index('"3" = "ln"') < text.index("# proposed") < text.index('"2" = "1"')
    assert '# ? = "new"  # the source has no module of weight (3, 3)' in text
    out, _ = run("match", *files, "--json", "--fill", "new=zeros", "--drop", "2")
    plan = json.loads(out)
    validate(plan)
    assert {entry["target"] for entry in plan["ambiguous"]} == {None, "0", "1"}
    run("match", *files, "-o", tmp_path / "map.toml", code=1)


def test_the_map_of_a_plan_converts(files, tmp_path):
    source, like = files
    given = ("--like", like, "--fill", "new=ones", "-q")
    run("match", *files, "-o", tmp_path / "map.toml", "--fill", "new=ones", "-q")
    _, err = run("torch2ms", source, "-o", tmp_path / "m.ckpt", *given, code=1)
    assert "try --like-order or --map map.toml; match drafts the map; ckptconv match" in err
    drafting = shlex.split(err.partition("; ckptconv ")[2])
    assert drafting[-4:] == ["--fill", "new=ones", "-o", "map.toml"]
    run(*drafting[:-1], tmp_path / "again.toml", "-q")
    assert (tmp_path / "again.toml").read_text() == (tmp_path / "map.toml").read_text()
    run("torch2ms", source, "-o", tmp_path / "m.ckpt", *given, "--map", tmp_path / "map.toml")
    run("torch2ms", source, "-o", tmp_path / "o.ckpt", *given, "--like-order")
    assert (tmp_path / "m.ckpt").read_bytes() == (tmp_path / "o.ckpt").read_bytes()


def test_a_plan_of_five_hundred_modules_fits_a_screen(tmp_path):
    blocks = {f"blocks.{i}.weight": torch.zeros(3, 3) for i in range(500)}
    torch.save(blocks, tmp_path / "m.pt")
    lines = [f"layers.{i + 1}.weight (3, 3)" for i in range(500)]
    (tmp_path / "like.txt").write_text("\n".join(lines))
    out, _ = run("match", tmp_path / "m.pt", tmp_path / "like.txt")
    assert len(out.splitlines()) <= 24
    assert max(map(len, out.splitlines())) <= 100
    assert "… and 493 more" in out
    (tmp_path / "like.txt").write_text("\n".join(lines[:400]))
    out, _ = run("match", tmp_path / "m.pt", tmp_path / "like.txt")
    assert out.startswith("0 forced, 0 proposed, 900 ambiguous")
    assert len(out.splitlines()) <= 24
