"""The process around the commands: exit codes, closed pipes, full disks, encodings, documents."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ckptconv import CkptconvError, __version__, convert
from ckptconv.codecs.json import to_json
from ckptconv.spelling import quoted
from tests.cli.test_cli import run, tagger, validate
from tests.conftest import HANGS, ROOT
from tests.stories.terminal import Terminal

__all__ = ["tagger"]  # a fixture


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of shell in which ``ckptconv`` is the command."""
    command = f'ckptconv() {{ {sys.executable} -m ckptconv "$@"; }}; set -o pipefail; {script}'
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(["bash", "-c", command], capture_output=True, env=given, timeout=HANGS)


def test_the_version_and_help() -> None:
    assert run("--version") == (f"ckptconv {__version__}\n", "")
    assert "torch2ms" in run("-h")[0]
    assert "--allow" in run("torch2ms", "-h")[0]


@pytest.mark.parametrize("command", ["torch2ms --check", "torch2ms --json", "inspect"])
def test_what_moves_bytes_alone_imports_no_numbers(tagger: Path, command: str) -> None:
    """They would take longer than the conversion itself."""
    code = "import sys, ckptconv.cli, atexit; atexit.register(lambda: print(*sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; ckptconv.cli.main()", *command.split(), str(tagger)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=HANGS,
    )
    loaded = {*done.stdout.splitlines()[-1].split()}
    assert "ckptconv.formats.torch.zip" in loaded
    assert not loaded & {"numpy", "ml_dtypes", "h5py", "torch", "mindspore", "keras"}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("tor", "torch2keras torch2ms"),
        ("verify --target-f", "--target-from --target-fuse --target-forget-bias"),
        ("torch2ms a.pt --dtype fl", "float16 float32 float64"),
        ("convert a b --to mi", "mindspore mint"),
        ("roundtrip a --via k", "keras"),
        ("torch2ms a.pt --kind norm = La", "LayerNorm"),  # so bash hands over norm=La
        ("torch2ms a.pt --kind a = LSTM --kind norm = Group", "GroupNorm"),
        ("torch2ms a.pt --kind = norm = Group", "GroupNorm"),
        ("torch2ms a.pt --allow spectral_norm_dim =", "0 1"),
        ("torch2ms a.pt --dtype = fl", "float16 float32 float64"),
        ("inspect tag", ""),  # files are the shell's own business
    ],
)
def test_a_shell_completes(tmp_path: Path, typed: str, offered: str) -> None:
    words = f"ckptconv {typed}"
    place = len(words.split()) - 1
    seen = Terminal(tmp_path, 200).type(
        'eval "$(ckptconv --show-completion bash)"; '
        f"COMP_WORDS=({words}); COMP_CWORD={place}; _ckptconv_completion ckptconv; "
        'echo "${COMPREPLY[@]}"'
    )
    assert seen.text.split() == offered.split()


def test_kinds_are_offered_by_shells_that_split_no_word_at_its_equals_sign() -> None:
    asked = {
        "_CKPTCONV_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": "ckptconv torch2ms --kind a=LSTMC",
    }
    assert b'"a=LSTMCell"' in shell("ckptconv", **asked).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dtype", "fp16"), "expected float16 or bfloat16"),
        (("--kind", "head=Lineer"), "--kind of head: unknown kind"),
        (("--kind", "head=Linear(3)"), "arguments that cannot be read"),
        (("--rename", "(=x"), "not a regular expression"),
        (("-o", "x.pt"), "ends in .ckpt or .safetensors"),
        (("--nothing",), "No such option"),
        (("--layout", "tpu"), "unknown layout 'tpu'"),
        (("--like-order",), "--like-order speaks of a target network"),
        (("--fill", "head=two"), "--fill speaks of a target network"),
        (("--network", "net.txt"), "a name that ends in .py"),
    ],
)
def test_wrong_usage_is_2_and_a_document(tagger: Path, arguments: tuple, message: str) -> None:
    out, err = run("torch2ms", tagger, *arguments, "--json", code=2)
    document = json.loads(out)
    validate(document)
    assert document["error"] == "UsageError"
    assert document["exit_code"] == 2
    assert message in document["message"]
    assert message in err
    assert os.listdir(tagger.parent) == [tagger.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("verify tagger.pt tagger.pt --device TPU", "unknown device 'TPU': expected CPU or GPU"),
        ("verify tagger.pt tagger.pt --tolerance -1", "tolerance -1.0: expected a number"),
        ("diff tagger.pt tagger.pt --atol nan", "atol nan: expected a number"),
        ("diff tagger.pt tagger.pt --from tf", "unknown framework 'tf': expected torch or"),
        ("inspect tagger.pt --target-kind x=Linear", "No such option"),
        ("torch2ms tagger.pt made.ckpt", "try -o DST"),
    ],
)
def test_wrong_usage_of_a_proof_is_2(tagger: Path, arguments: str, message: str) -> None:
    assert message in run(*arguments.split(), code=2, cwd=tagger.parent)[1]


def test_nothing_is_written_where_the_report_cannot_be(tagger: Path) -> None:
    _, err = run("torch2ms", tagger, "--report", tagger.parent / "no/report.json", code=1)
    assert "no: no such folder" in err
    assert os.listdir(tagger.parent) == [tagger.name]


def test_an_error_with_json_is_a_document(tagger: Path) -> None:
    run("torch2ms", tagger, "-q")
    document = json.loads(run("torch2ms", tagger, "--json", code=1)[0])
    validate(document)
    assert document["error"] == "ContainerError"
    assert document["file"] == str(tagger.with_suffix(".ckpt"))


def test_several_files_are_inspected_and_a_bad_one_does_not_stop_the_rest(tagger: Path) -> None:
    bad = tagger.with_name("bad.pt")
    bad.write_text("no checkpoint")
    out, err = run("inspect", bad, tagger, tagger, code=1)
    assert out.count("lstm.weight_hh_l1_reverse") == 2
    assert "bad.pt: not a checkpoint" in err
    document = json.loads(run("inspect", bad, tagger, "--json", code=1)[0])
    validate(document)
    assert [file["schema"] for file in document["files"]] == [
        "ckptconv-error-1",
        "ckptconv-inspect-1",
    ]


def test_numbers_that_are_not_finite_are_null() -> None:
    document = json.loads(to_json({"a": [math.nan, 1.5, (math.inf,)], "b": {"c": -math.inf}}))
    assert document == {"a": [None, 1.5, [None]], "b": {"c": None}}


@pytest.mark.skipif(os.name == "nt", reason="written for a POSIX shell")
def test_a_pipe_that_is_closed_when_the_work_is_done(tagger: Path) -> None:
    result = shell(f"ckptconv torch2ms {tagger} | true")
    assert (result.returncode, result.stderr) == (0, b"")
    assert tagger.with_suffix(".ckpt").exists()
    result = shell(f"ckptconv inspect {tagger} /nowhere.pt | true")
    assert result.returncode == 1


AMID_A_DESTRUCTOR = """
import signal, typer
from ckptconv.cli.process import run
class File:
    def __del__(self):
        signal.raise_signal(signal.STOP)
app = typer.Typer()
@app.callback()
def several():
    pass
@app.command("go")
def go():
    File()
    print("goes on", flush=True)
    while True:  # signal.pause() would miss one that comes just before it
        pass
run(app)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("stop", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_amid_a_destructor_is_not_lost(stop: str) -> None:
    """Python drops what is raised there, and goes on."""
    script = AMID_A_DESTRUCTOR.replace("STOP", stop)
    command = [sys.executable, "-c", script, "go"]
    result = subprocess.run(command, capture_output=True, timeout=HANGS, cwd=ROOT, text=True)
    assert (result.stdout, result.stderr) == ("goes on\n", "")
    assert result.returncode == 128 + getattr(signal, stop)


def test_an_interrupt_amid_the_imports() -> None:
    script = """
import sys
class Finder:
    def find_spec(name, path, target=None):
        if name == "ckptconv.cli":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder)
from ckptconv.__main__ import main
main()
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, timeout=HANGS, cwd=ROOT, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_under_the_output(tagger: Path) -> None:
    for arguments in (f"torch2ms {tagger}", f"inspect {tagger} --json"):
        result = shell(f"ckptconv {arguments} > /dev/full")
        message = b"ckptconv: standard output cannot be written: No space left on device\n"
        assert (result.returncode, result.stderr) == (1, message)
    assert tagger.with_suffix(".ckpt").exists()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_any_encoding(tagger: Path, encoding: str) -> None:
    result = shell(
        f"ckptconv torch2ms {tagger}; ckptconv inspect {tagger}", PYTHONIOENCODING=encoding
    )
    text = result.stdout.decode(encoding)
    assert (result.returncode, result.stderr) == (0, b"")
    assert "weight -> embedding_table" in text
    assert ("64x16" if encoding == "ascii" else "64×16") in text


def test_an_approximation_that_nothing_needs_is_an_error(tagger: Path) -> None:
    message = "--allow dequantise: nothing in the file needs it: expected none"
    assert message in run("torch2ms", tagger, "--allow", "dequantise", code=1)[1]
    with pytest.raises(CkptconvError, match=r"allow=\[.dequantise.\]: nothing in the file"):
        convert(tagger, tagger.with_suffix(".ckpt"), to="mindspore", allow=["dequantise"])
    assert os.listdir(tagger.parent) == [tagger.name]


def test_hints_speak_the_language_of_the_caller(tagger: Path) -> None:
    target = tagger.with_suffix(".ckpt")
    convert(tagger, target, to="mindspore")
    with pytest.raises(CkptconvError, match="exists already; try force=True; it replaces the file"):
        convert(tagger, target, to="mindspore")
    assert "try --force; it replaces the file" in run("torch2ms", tagger, code=1)[1]
    out = tagger.parent / "out"
    out.mkdir()
    target.rename(out / target.name)
    for jobs in (1, 2):
        command = ("batch", tagger.parent, out, "--to", "ms", "--jobs", jobs)
        assert "try --force; it replaces the file" in run(*command, code=1)[1]


def test_ascend_says_what_it_checked(tagger: Path) -> None:
    out, _ = run("torch2ms", tagger, "--target", "ascend", "--dry-run")
    assert "note: Ascend: checked the hidden sizes of 1 LSTM and GRU layers and their" in out
    assert "nothing else was checked" in out
    torch = ("convert", tagger, "x.safetensors", "--to", "torch")
    out, _ = run(*torch, "--target", "ascend", "--dry-run")
    assert "note: Ascend: nothing was checked, since PyTorch does not run there" in out


CLOSED = [
    # a line of shell, its exit code, the end of what it says on stderr
    ("ckptconv torch2ms tagger.pt -o a.ckpt >&-", 0, ""),
    ("ckptconv torch2ms tagger.pt -o b.ckpt <&- >&- 2>&-", 0, ""),
    ("ckptconv formats >&-", 0, ""),
    ("ckptconv golden tagger.pt -o v.npz >&-", 0, ""),
    ("ckptconv inspect missing.pt <&- 2>&-", 1, ""),
    ("ckptconv golden tagger.pt -o w.npz >/dev/full", 1, "No space left on device\n"),
    ("ckptconv inspect missing.pt --json >/dev/full", 1, "No such file or directory\n"),
    (
        "cd $(mktemp -d -p .) && rmdir $PWD && ckptconv torch2ms tagger.pt --report r.json",
        1,
        "No such file or directory\n",
    ),
]


@pytest.mark.parametrize(("line", "code", "said"), CLOSED, ids=[row[0] for row in CLOSED])
def test_what_is_closed_full_or_gone_is_no_traceback(
    tagger: Path, line: str, code: int, said: str
) -> None:
    done = shell(f"cd {tagger.parent} && {line}")
    err = done.stderr.decode()
    assert done.returncode == code, err
    assert "Traceback" not in err
    assert err.endswith(said) if said else not err
    made = {path.read_bytes() for path in tagger.parent.glob("?.ckpt")}
    assert len(made) == ("torch2ms" in line and not code), "what is written is not printed into"


def test_frameworks_have_their_short_names_wherever_one_is_named(tagger: Path) -> None:
    target = tagger.with_suffix(".safetensors")
    run("convert", tagger, target, "--to", "ms", "--from", "torch", "-q")
    run("inspect", target, "--from", "ms")
    run("diff", tagger, target, "--target-from", "ms", "-q")


@pytest.mark.parametrize(
    "word", ["a b", "x", "it's", "two\nlines", "back\\slash\n", "\x1b[31m", "\udcff\n", "\u4e2d"]
)
def test_a_shell_reads_what_is_advised(word: str) -> None:
    expected = word.encode("utf-8", "surrogateescape")
    assert quoted(word).isprintable()
    assert shell(f"printf %s {quoted(word)}").stdout == expected


def test_a_name_that_is_no_text_is_quoted_all_the_same() -> None:
    assert quoted("\ud800") == r"$'\xed\xa0\x80'"


_HOST = """
import atexit, runpy, sys
atexit.register(lambda: print("at its end"))
sys.argv = ["ckptconv", "inspect", "nothing.pt"]
try:
    runpy.run_module("ckptconv", run_name="__main__", alter_sys=True)
except SystemExit as end:
    print("goes on after", end.code)
"""


def test_a_program_that_runs_it_inside_ends_as_it_likes(tmp_path: Path) -> None:
    given = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _HOST]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=given, timeout=HANGS, check=True
    )
    assert done.stdout == "goes on after 1\nat its end\n"
