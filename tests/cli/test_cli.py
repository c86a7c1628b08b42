"""The command line as a user meets it: whole processes, exit codes, messages, files left."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
import torch

from tests import networks as n
from tests.conftest import HANGS, ROOT


def run(*arguments, cwd=None, code=0, **options):
    """Run ckptconv in a process of its own; return (stdout, stderr)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    result = subprocess.run(
        [sys.executable, "-m", "ckptconv", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANGS,
        **options,
    )
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout, result.stderr


SCHEMA = json.loads((ROOT / "ckptconv/report.schema.json").read_text())


def validate(document):
    """Hold a document against the schema that the package brings."""
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


@pytest.fixture
def tagger(samples, tmp_path):
    path = tmp_path / "tagger.pt"
    path.write_bytes((samples / "tagger.pt").read_bytes())
    return path


def test_torch2ms_writes_beside_the_source_and_reports(tagger):
    out, err = run("torch2ms", tagger)
    assert "weight → embedding_table" in out
    assert "wrote" in out
    assert "i,f,g,o" in out
    assert not err
    assert tagger.with_suffix(".ckpt").stat().st_size > 43_000


def test_the_sample_gives_torchs_outputs_in_mindspore(tagger, samples):
    run("torch2ms", tagger, "-q")
    result = subprocess.run(
        [sys.executable, samples / "infer_mindspore.py", tagger.with_suffix(".ckpt")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "equal"


def test_json_report_and_dry_run(tagger, tmp_path):
    report = tmp_path / "report.json"
    out, _ = run("torch2ms", tagger, "--dry-run", "--json", "--report", report)
    document = json.loads(out)
    assert document == json.loads(report.read_text())
    assert document["written"] is False
    assert not tagger.with_suffix(".ckpt").exists()
    assert [layer["kind"] for layer in document["layers"]] == [
        "Embedding",
        "LSTM",
        "LayerNorm",
        "Linear",
    ]


def test_quiet_and_force(tagger):
    target = tagger.with_suffix(".ckpt")
    assert run("torch2ms", tagger, "-q") == ("", "")
    before = target.read_bytes()
    _, err = run("torch2ms", tagger, code=1)
    assert err == f"ckptconv: {target}: exists already; try --force; it replaces the file\n"
    run("torch2ms", tagger, "-q", "--force")
    assert target.read_bytes() == before


def test_convert_by_suffix_and_rename(tagger, tmp_path):
    target = tmp_path / "out.safetensors"
    _, err = run("convert", tagger, target, code=2)
    assert "--to is needed" in err
    rules = ("--rename", "^lstm=encoder.rnn", "--rename", r"^(head)$=x", "--rename", "x=out")
    run("convert", tagger, target, "--to", "torch", *rules)
    from safetensors.numpy import load_file

    names = set(load_file(target))
    assert {"encoder.rnn.weight_hh_l1_reverse", "out.bias", "norm.weight"} <= names


def test_map_file(tagger, tmp_path):
    table = tmp_path / "map.toml"
    table.write_text('"lstm" = "net.rnn"\n"head" = "net.out"\n')
    out, _ = run("torch2ms", tagger, "--map", table, "--json")
    targets = [e["target"] for layer in json.loads(out)["layers"] for e in layer["tensors"]]
    assert "net.rnn.weight_ih_l0" in targets
    assert "net.out.bias" in targets


def test_inspect(tagger):
    out, _ = run("inspect", tagger)
    assert "lstm.weight_hh_l1_reverse  float32 64×16" in out
    document = json.loads(run("inspect", tagger, "--json")[0])
    assert document["container"] == "torch-zip"
    validate(document)
    assert document["modules"][2]["kinds"] == ["LayerNorm", "GroupNorm"]
    assert document["modules"][2]["evidence"] == "_metadata version"


def test_formats_and_usage():
    out, _ = run("formats")
    assert "torch-zip" in out
    assert "mindspore-ckpt" in out
    run("torch2ms", code=2)
    run("torch2ms", "a.pt", "--kind", "nonsense", code=2)


def test_ambiguous_layers_are_refused_with_the_way_out(tmp_path):
    state = {"thing.weight": torch.arange(6.0).reshape(2, 3), "fc.weight": torch.ones(2, 3)}
    torch.save(state, tmp_path / "m.pt")
    _, err = run("torch2ms", tmp_path / "m.pt", code=1)
    assert "thing: the file does not tell which layer this is" in err
    assert "--kind thing=Linear --kind fc=Linear" in err  # a line to paste that answers all
    assert os.listdir(tmp_path) == ["m.pt"]
    both = ("--kind", "thing=Embedding", "--kind", "f*=Linear")
    out, _ = run("torch2ms", tmp_path / "m.pt", *both, "--json")
    layers = {layer["path"]: layer for layer in json.loads(out)["layers"]}
    assert layers["thing"]["evidence"] == "the user's word"
    assert layers["thing"]["tensors"][0]["target"] == "thing.embedding_table"
    assert layers["fc"]["evidence"] == "the user's word"
    wrong = ("--kind", "thing=LSTM", "--force")
    assert "cannot be a LSTM" in run("torch2ms", tmp_path / "m.pt", *wrong, code=1)[1]
    other = ("--kind", "nothing=Linear", "--force")
    assert "names no module" in run("torch2ms", tmp_path / "m.pt", *other, code=1)[1]


def test_a_command_that_the_file_contradicts(tmp_path, tagger):
    """It would write untransposed kernels under names that no layer has."""
    run("torch2keras", tagger, "-q")
    run("torch2ms", tagger, "-q")
    for command, source, right in (
        ("torch2ms", "tagger.h5", "keras2ms"),
        ("ms2torch", "tagger.pt", "torch2ms"),
        ("torch2keras", "tagger.ckpt", "ms2keras"),
    ):
        target = ("-o", tmp_path / f"x{'.pt' if command.endswith('torch') else '.ckpt'}")
        _, err = run(
            command, tmp_path / source, *(target if "keras" not in command else ()), code=1
        )
        assert f"try ckptconv {right} {tmp_path / source}" in err
    assert sorted(os.listdir(tmp_path)) == ["tagger.ckpt", "tagger.h5", "tagger.pt"]


def test_a_report_never_takes_the_place_of_a_checkpoint(tmp_path, tagger):
    before = tagger.read_bytes()
    target = tmp_path / "t.ckpt"
    for path, what in ((tagger, "source"), (target, "target")):
        _, err = run("torch2ms", tagger, "-o", target, "--report", path, "--force", code=1)
        assert f"the report would overwrite the {what}" in err
    assert tagger.read_bytes() == before
    assert not target.exists()


def save(path, state):
    torch.save(state, path)
    return path


def bad_files(folder):
    """Yield (name of the case, path, what the message must say)."""
    good = save(folder / "good.pt", n.torch_recurrent("LSTM").state_dict()).read_bytes()
    (folder / "text.pt").write_text("hello, not a checkpoint at all\n")
    yield "text", folder / "text.pt", "not a checkpoint"
    (folder / "cut.pt").write_bytes(good[: len(good) // 2])
    yield "truncated", folder / "cut.pt", "expected"
    (folder / "empty.pt").touch()
    yield "empty", folder / "empty.pt", "an empty file"
    yield "folder", folder, "found a folder"
    yield "missing", folder / "missing.pt", "cannot be opened: No such file"
    yield "no tensors", save(folder / "none.pt", {}), "found"
    odd = {"rnn.weight_ih_l0": torch.ones(10, 3), "rnn.weight_hh_l0": torch.ones(10, 5)}
    yield "two gates", save(folder / "odd.pt", odd), r"weight_hh of (4H, H) for LSTM"
    lame = {k: v for k, v in n.torch_recurrent("GRU").state_dict().items() if "bias_hh" not in k}
    yield "one bias", save(folder / "lame.pt", lame), "bias_hh_l0: not what a whole GRU has"
    projected = torch.nn.LSTM(3, 4, proj_size=2).state_dict()
    yield "proj_size", save(folder / "proj.pt", projected), "proj_size has no equal in MindSpore"
    long = {"n" * 1025: torch.ones(2)}
    yield "long name", save(folder / "long.pt", long), "at most 1024 characters, found 1025"
    complex_ = {"w": torch.ones(2, dtype=torch.complex64)}
    yield "complex", save(folder / "complex.pt", complex_), "complex numbers cannot be converted"
    yield "escapes", save(folder / "esc.pt", {"\x1b[31mw.weight": torch.ones(2, 2)}), r"\x1b[31mw"


def test_bad_input_is_one_clear_line(tmp_path):
    for case, path, message in bad_files(tmp_path):
        target = tmp_path / f"{case}.out.ckpt"
        out, err = run("torch2ms", path, "-o", target, code=1)
        assert out == ""
        assert err.startswith("ckptconv: "), case
        assert err.count("\n") == 1, case
        assert message in err, (case, err)
        assert not target.exists()
    assert not list(tmp_path.glob(".*")), "temporary files are left"


def test_a_path_without_a_name():
    for path in ("", "."):
        _, err = run("torch2ms", path, code=1)
        assert "not a checkpoint: expected the name of a file" in err
        assert err.count("\n") == 1


def test_no_permission(tagger, tmp_path, monkeypatch):
    """The system's answer is made up, since tests may run as root, who is refused nothing."""
    from ckptconv import ContainerError, convert

    real = os.open

    def refuse(path, *arguments, **options):
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ContainerError, match="cannot be opened: Permission denied"):
        convert(tagger, tmp_path / "a.ckpt", to="mindspore")


def test_the_source_is_never_the_target(tagger):
    before = tagger.read_bytes()
    os.link(tagger, tagger.with_name("link.pt"))
    os.symlink(tagger, tagger.with_name("soft.pt"))
    for target in (tagger, tagger.with_name("link.pt"), tagger.with_name("soft.pt")):
        _, err = run("convert", tagger, target, "--force", code=1)
        assert "the target is the source itself" in err
    assert tagger.read_bytes() == before


def test_a_wrong_suffix_for_mindspore_is_refused(tagger, tmp_path):
    _, err = run("torch2ms", tagger, "-o", tmp_path / "model.pt2", code=2)
    assert "expected a name that ends in .ckpt or .safetensors" in err


def test_converting_imports_no_framework(tagger):
    """Both frameworks are blocked, and would be seen if something else brought them in."""
    script = (
        "import sys\n"
        "for name in ('torch', 'mindspore', 'keras', 'tensorflow'): sys.modules[name] = None\n"
        "import ckptconv\n"
        f"ckptconv.convert({str(tagger)!r}, {str(tagger.with_suffix('.ckpt'))!r}, to='mindspore')\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
    assert tagger.with_suffix(".ckpt").exists()


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "sys.argv = ['ckptconv', '--help']\n"
        "from ckptconv.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'h5py', 'safetensors', 'rich.console', 'rich.table', 'torch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    root = ROOT
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root, capture_output=True)


def test_two_runs_are_byte_identical(tagger, tmp_path):
    for suffix in (".ckpt", ".safetensors"):
        for name in "ab":
            run("torch2ms", tagger, "-q", "-o", tmp_path / (name + suffix))
        first = (tmp_path / f"a{suffix}").read_bytes()
        assert first == (tmp_path / f"b{suffix}").read_bytes()


def test_safetensors_for_mindspore(tagger, tmp_path):
    import mindspore as ms

    run("torch2ms", tagger, "-q", "-o", tmp_path / "m.safetensors")
    loaded = ms.load_checkpoint(str(tmp_path / "m.safetensors"), format="safetensors")
    state = torch.load(tagger, weights_only=True)
    np.testing.assert_array_equal(loaded["norm.gamma"].asnumpy(), state["norm.weight"].numpy())


def test_an_unknown_device_is_not_ignored(tagger):
    _, err = run("torch2ms", tagger, "--target", "ascent", code=2)
    assert "unknown hardware 'ascent': expected ascend" in err


def test_names_and_patterns_with_an_equals_sign_of_their_own(tmp_path):
    state = {"net.a=b.weight": torch.ones(3), "net.a=b.bias": torch.ones(3)}
    torch.save(state, tmp_path / "m.pt")
    kind = ("--kind", "net.a=b=GroupNorm(num_groups=3)")
    renamed = ("--rename", "(?<=net)[.]=_", "--rename", "(?=a=b)=x")
    run("convert", tmp_path / "m.pt", tmp_path / "m.h5", *kind, *renamed)
    out, _ = run("inspect", tmp_path / "m.h5")
    assert "net_xa=b/net_xa=b/gamma:0" in out
