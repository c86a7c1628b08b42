"""Many files: bad ones, a second run, a killed run, and executors."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import ckptconv
from ckptconv.batch import CONVERTED, FAILED, UNCHANGED, find
from tests import networks as n
from tests.cli.test_cli import run, validate
from tests.conftest import HANGS, ROOT
from tests.sudden_death import make_source


@pytest.fixture
def folder(tmp_path):
    """Make a folder of good files, a bad one, shards with their index, and other things."""
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    for i, path in enumerate(("a.pt", "deep/b.pth")):
        torch.save(n.torch_recurrent("GRU", seed=i).state_dict(), source / path)
    (source / "bad.pt").write_bytes(b"PK\x03\x04 not really")
    (source / "notes.txt").write_text("not a checkpoint")
    state = {f"lstm.{k}": v for k, v in n.torch_recurrent("LSTM").state_dict().items()}
    names = list(state)
    for i, part in enumerate((names[:2], names[2:])):
        torch.save({name: state[name] for name in part}, source / f"model-{i}.bin")
    weight_map = {name: f"model-{int(name not in names[:2])}.bin" for name in names}
    index = {"metadata": {}, "weight_map": weight_map}
    (source / "model.bin.index.json").write_text(json.dumps(index))
    return source


def statuses(outcomes):
    return {Path(o.source).name: o.status for o in outcomes}


FIRST = {
    "a.pt": CONVERTED,
    "bad.pt": FAILED,
    "b.pth": CONVERTED,
    "model.bin.index.json": CONVERTED,
}


def test_one_bad_file_does_not_stop_the_rest_and_nothing_is_done_twice(folder, tmp_path):
    pairs = find(folder, tmp_path / "out", ".ckpt")
    seen = []
    outcomes = ckptconv.convert_many(pairs, to="mindspore", done=seen.append)
    assert statuses(outcomes) == statuses(seen) == FIRST
    assert "bad.pt" in next(o.error for o in outcomes if o.status == FAILED)
    target = tmp_path / "out" / "deep" / "b.ckpt"
    made = target.stat().st_ino
    again = ckptconv.convert_many(pairs, to="mindspore")
    assert set(statuses(again).values()) == {UNCHANGED, FAILED}
    assert target.stat().st_ino == made
    other = ckptconv.convert_many(pairs, to="mindspore", dtype="float16")
    assert statuses(other) == FIRST  # other options, other results
    torch.save(n.torch_recurrent("GRU", seed=7).state_dict(), folder / "a.pt")
    third = ckptconv.convert_many(pairs, to="mindspore", dtype="float16")
    assert statuses(third)["a.pt"] == CONVERTED
    assert statuses(third)["b.pth"] == UNCHANGED


def test_targets_among_the_sources_are_no_sources(folder):
    (folder / "out").mkdir()
    shutil.copy(folder / "a.pt", folder / "out/made.pt")
    (folder / "link.pt").symlink_to("out/made.pt")
    assert {source.name for source, _ in find(folder, folder / "out", ".ckpt")} == set(FIRST)


def test_a_folder_that_cannot_be_read_is_not_passed_by(folder, tmp_path, monkeypatch):
    def scandir(path, scan=os.scandir):
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="deep"):
        find(folder, tmp_path / "out", ".ckpt")


_KILLED = """
import os, sys, ckptconv
from ckptconv.batch import job
job.to_json = lambda _: os.kill(os.getpid(), 9)
ckptconv.convert_many([sys.argv[1:]], to="mindspore")
"""


def test_a_killed_run_goes_on_and_strangers_are_not_replaced(folder, tmp_path, monkeypatch):
    pairs = [(folder / "a.pt", tmp_path / f"{name}.ckpt") for name in "abcd"]
    records = [Path(f"{target}.report.json") for _, target in pairs]
    command = [sys.executable, "-c", _KILLED, *pairs[0]]
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert killed.returncode == -signal.SIGKILL
    assert pairs[0][1].exists()  # and is not known yet
    with monkeypatch.context() as patched:
        patched.setattr("ckptconv.batch.job.to_json", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            ckptconv.convert_many(pairs[1:2], to="mindspore")
    assert pairs[1][1].exists()
    pairs[2][1].write_text("known to a record that a power failure emptied")
    records[2].touch()
    pairs[3][1].write_text("somebody else's")
    outcomes = ckptconv.convert_many(pairs, to="mindspore")
    assert [o.status for o in outcomes] == [CONVERTED, CONVERTED, CONVERTED, FAILED]
    assert "exists already; try force=True" in outcomes[3].error
    assert pairs[3][1].read_text() == "somebody else's"
    assert ckptconv.convert_many(pairs, to="mindspore", force=True)[3].status == CONVERTED
    assert set(tmp_path.iterdir()) == {folder, *records, *(target for _, target in pairs)}


def _interrupt(_):
    raise KeyboardInterrupt


def test_no_file_stays_open(folder, tmp_path):
    """Neither of conversions, for which nothing searches, nor of errors, in a process with few."""
    pairs = find(folder / "deep", tmp_path / "out", ".ckpt")
    ckptconv.convert_many(pairs, to="mindspore")
    gc.disable()
    try:
        before = os.listdir("/proc/self/fd")
        ckptconv.convert_many(pairs, to="mindspore", dtype="float16")
        assert os.listdir("/proc/self/fd") == before
    finally:
        gc.enable()
    shutil.copy(ROOT / "tests/golden/keras/keras122_gru_gpu.h5", folder / "refused.h5")
    for i in range(250):
        os.link(folder / "refused.h5", folder / f"{i}.h5")
    limited = ["sh", "-c", 'ulimit -n 200 && exec "$@"', "sh", sys.executable, "-m", "ckptconv"]
    result = subprocess.run(
        [*limited, "batch", folder, tmp_path / "limited", "--to", "ms", "-q"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert result.stderr.count("failed: ") == 252, result.stderr
    assert "open files" not in result.stderr


def test_what_stands_in_another_file_is_read_again_when_that_changes(folder, tmp_path):
    names = tmp_path / "map.toml"
    names.write_text('"lstm" = "first"')
    bundle = shutil.make_archive(tmp_path / "b", "gztar", tmp_path, folder.name)
    index = folder / "model.bin.index.json"
    jobs = [
        ([(index, tmp_path / "m.ckpt")], {"map": names}),
        ([(f"{bundle}:{folder.name}/a.pt", tmp_path / "b.ckpt")], {}),
    ]

    def states():
        done = (ckptconv.convert_many(pairs, to="mindspore", **more) for pairs, more in jobs)
        return [outcomes[0].status for outcomes in done]

    assert states() == [CONVERTED, CONVERTED]
    assert states() == [UNCHANGED, UNCHANGED]
    names.write_text('"lstm" = "other"')
    assert states() == [CONVERTED, UNCHANGED]
    shard = torch.load(folder / "model-1.bin")
    torch.save({name: tensor + 1 for name, tensor in shard.items()}, folder / "model-1.bin")
    assert states() == [CONVERTED, UNCHANGED]
    torch.save(n.torch_recurrent("GRU", seed=9).state_dict(), folder / "a.pt")
    shutil.make_archive(tmp_path / "b", "gztar", tmp_path, folder.name)
    assert states() == [UNCHANGED, CONVERTED]


def _exhaust(*_):
    raise MemoryError


def test_a_conversion_without_memory_is_an_outcome(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ckptconv.pipeline.read", _exhaust)
    (outcome,) = ckptconv.convert_many([(folder / "a.pt", tmp_path / "a.ckpt")], to="mindspore")
    assert outcome.error == f"{folder / 'a.pt'}: out of memory"


def test_two_sources_for_one_target(folder, tmp_path):
    pairs = [(folder / "a.pt", tmp_path / "x.ckpt"), (folder / "deep/b.pth", tmp_path / "x.ckpt")]
    assert [o.status for o in ckptconv.convert_many(pairs, to="mindspore")] == [CONVERTED, FAILED]


def test_two_weights_for_one_network(tmp_path):
    source = ROOT / "tests/golden/keras/keras224_default_full.h5"
    pairs = [(source, tmp_path / name) for name in ("x.ckpt", "x.safetensors")]
    done, left = ckptconv.convert_many(pairs, to="mindspore", network=True)
    assert (done.status, left.status) == (CONVERTED, FAILED)
    assert f"{tmp_path / 'x.py'} is the target of {source} too" in left.error
    assert not (tmp_path / "x.safetensors").exists()


def test_a_source_that_another_job_makes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ckptconv.batch._SHARES", 1)
    there, back = tmp_path / "a.safetensors", tmp_path / "a.pt"
    pairs = [(folder / "a.pt", there), (os.path.relpath(there), back)]
    assert {o.status for o in ckptconv.convert_many(pairs, to="torch")} == {CONVERTED}
    assert torch.load(back).keys() == torch.load(folder / "a.pt").keys()


def test_what_cannot_be_named_after_all_is_an_outcome(folder, tmp_path, monkeypatch):
    """It was written whole, beside others, whose disk is full when it is waited for."""
    monkeypatch.setattr("ckptconv.batch._SHARES", 1)
    pairs, plain = [(folder / "a.pt", tmp_path / f"{i}.ckpt") for i in range(3)], os.fsync
    synced = []

    def full(file):
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        if synced[-1].endswith(".1.ckpt.0.part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(file)

    monkeypatch.setattr("os.fsync", full)
    outcomes = ckptconv.convert_many(pairs, to="mindspore")
    assert [o.status for o in outcomes] == [CONVERTED, FAILED, CONVERTED]
    assert outcomes[1].error == f"{pairs[1][1]}: cannot be written: No space left on device"
    assert synced[-1] == str(tmp_path)  # once, for all
    assert len(synced) == 4
    made = {f"{i}.ckpt{more}" for i in (0, 2) for more in ("", ".report.json")}
    assert set(os.listdir(tmp_path)) == made | {folder.name}


@pytest.mark.parametrize("shares", [1, 64])
@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor, None])
def test_executors(folder, tmp_path, pool, shares, monkeypatch):
    """With shares of one job, and of all jobs."""
    monkeypatch.setattr("ckptconv.batch._SHARES", shares)
    pairs = find(folder, tmp_path / "out", ".ckpt")
    with pool(2) if pool else nullcontext() as executor:
        outcomes = ckptconv.convert_many(pairs, to="mindspore", executor=executor)
    assert [o.source for o in outcomes] == [str(source) for source, _ in pairs]
    assert statuses(outcomes) == FIRST


def _die(*_):
    os._exit(3)


def test_a_worker_that_dies_is_an_outcome(folder, tmp_path, monkeypatch):
    from ckptconv import batch

    monkeypatch.setattr(batch, "_convert_pairs", _die)
    with ProcessPoolExecutor(1) as executor:
        outcomes = ckptconv.convert_many(
            [(folder / "a.pt", tmp_path / "a.ckpt")], to="mindspore", executor=executor
        )
    assert outcomes[0].status == FAILED
    assert outcomes[0].error.startswith(f"{folder / 'a.pt'}: the worker failed")


def test_what_has_no_target_of_its_own_is_named(folder, tmp_path):
    first, second, target = folder / "a.pt", folder / "deep/b.pth", tmp_path / "one.ckpt"
    done, left = ckptconv.convert_many([(first, target), (second, target)], to="mindspore")
    assert (done.status, left.status) == (CONVERTED, FAILED)
    assert left.error.startswith(f"{second}: {target} is the target of {first} too")


def test_a_dask_cluster(folder, tmp_path, samples):
    pytest.importorskip("distributed")
    result = subprocess.run(
        [sys.executable, samples / "batch_dask.py", folder, tmp_path / "out"],
        capture_output=True,
        text=True,
        timeout=HANGS,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(samples.parent)},
    )
    assert result.returncode == 1, result.stderr  # one file is bad
    assert result.stdout.count("converted: ") == 3
    assert result.stdout.count("failed: ") == 1
    assert (tmp_path / "out/model.ckpt").exists()


def test_a_dask_worker_that_is_killed_loses_nothing(folder, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("ckptconv.batch._SHARES", 12)  # six jobs in each, some of them done
    pairs = [(folder / "a.pt", tmp_path / f"out/{i}.ckpt") for i in range(60)]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victims = list(client.run(os.getpid).values())[:1]
        outcomes = ckptconv.convert_many(
            pairs,
            to="mindspore",
            executor=client.get_executor(),
            done=lambda _: os.kill(victims.pop(), signal.SIGKILL) if victims else None,
        )
    assert not victims
    assert [Path(o.target).name for o in outcomes] == [target.name for _, target in pairs]
    assert {o.status for o in outcomes} <= {CONVERTED, UNCHANGED}
    names = {name for _, target in pairs for name in (target.name, f"{target.name}.report.json")}
    assert set(os.listdir(tmp_path / "out")) == names
    assert len({target.read_bytes() for _, target in pairs}) == 1


def test_the_command(folder, tmp_path):
    out, err = run("batch", folder, tmp_path / "out", "--to", "ms", "--jobs", "2", code=1)
    assert out.splitlines()[-1] == "3 converted, 0 unchanged, 1 failed"
    assert "bad.pt" in err
    out, _ = run("batch", folder, tmp_path / "out", "--to", "ms", "--json", code=1)
    document = json.loads(out)
    assert [o["status"] for o in document["outcomes"]].count("unchanged") == 3
    validate(document)


def test_a_quiet_dry_run_with_names_prints_errors_and_writes_nothing(folder, tmp_path):
    rules = ("--to", "ms", "--select", "x", "--dry-run", "--check", "-q")
    out, err = run("batch", folder, tmp_path / "out", *rules, code=1)
    assert out == ""
    assert err.count("failed: ") == 4
    assert not (tmp_path / "out").exists()
    rules = ("--to", "ms", "--rename", "^$=net", "--dry-run")
    (folder / "bad.pt").unlink()
    out, _ = run("batch", folder, tmp_path / "out", *rules, code=1)
    assert out.splitlines()[-1] == "2 would convert, 0 unchanged, 1 failed"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--to", "nothing"), 2, "--to nothing: expected torch, keras"),
        (("--to", "ms", "--jobs", "0"), 2, "--jobs"),
        (("--to", "ms", "--suffix", ".pt"), 2, "--suffix: expected .ckpt or .safetensors"),
        (("--to", "ms"), 1, "holds no checkpoints: expected files whose names end in .pt"),
    ],
)
def test_what_cannot_be_begun(tmp_path, arguments, code, message):
    (tmp_path / "in").mkdir()
    assert message in run("batch", tmp_path / "in", tmp_path / "o", *arguments, code=code)[1]
    plain = run("batch", tmp_path / "none", tmp_path / "o", "--to", "ms", code=1)
    assert "not a folder" in plain[1]
    assert not (tmp_path / "o").exists()


def test_a_job_that_fails_leaves_the_records_as_they_were(folder, tmp_path):
    pairs = [(folder / "a.pt", tmp_path / "a.ckpt"), (folder / "bad.pt", tmp_path / "bad.ckpt")]
    ckptconv.convert_many(pairs, to="mindspore")
    record = (tmp_path / "a.ckpt.report.json").read_bytes()
    assert not (tmp_path / "bad.ckpt.report.json").exists()
    (folder / "a.pt").write_bytes(b"now bad")
    assert ckptconv.convert_many(pairs, to="mindspore")[0].status == FAILED
    assert (tmp_path / "a.ckpt.report.json").read_bytes() == record


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("stop", "jobs", "count", "megabytes"),
    [
        ("SIGINT", 2, 40, 8),
        ("SIGTERM", 2, 40, 8),
        ("SIGHUP", 2, 40, 8),
        ("SIGINT", 1, 40, 8),
        ("SIGTERM", 2, 1000, 0),
        ("SIGINT", 1, 1000, 0),
        ("SIGHUP", 2, 1000, 0),
    ],
)
def test_stopped_with_all_its_jobs_and_nothing_partial(tmp_path, stop, jobs, count, megabytes):
    """Ctrl-C and a terminal that is closed reach every process of it, SIGTERM the first alone."""
    make_source(tmp_path / "0.safetensors", megabytes)
    (tmp_path / "in").mkdir()
    for i in range(count):
        os.link(tmp_path / "0.safetensors", tmp_path / "in" / f"{i}.safetensors")
    command = [sys.executable, "-m", "ckptconv", "batch", "in", "out", "--to", "ms"]
    batch = subprocess.Popen(
        [*command, "--jobs", str(jobs)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert batch.stdout.readline().startswith("converted: ")
    number = getattr(signal, stop)
    (os.kill if stop == "SIGTERM" else os.killpg)(batch.pid, number)
    _, err = batch.communicate(timeout=HANGS)
    assert batch.returncode == 128 + number, err
    assert f"of {count} done; the same command goes on from here" in err
    assert err.count("\n") == 1, err
    with pytest.raises(ProcessLookupError):
        os.killpg(batch.pid, 0)
    left = {path.name for path in (tmp_path / "out").iterdir()}
    done = {name for name in left if name.endswith(".ckpt")}
    assert left == done | {f"{name}.report.json" for name in done}
    assert 0 < len(done) < count


def test_networks_beside_their_targets(tmp_path):
    golden = ROOT / "tests/golden/keras"
    (tmp_path / "in/deep").mkdir(parents=True)
    for name, source in (("a.h5", "keras224_default_full"), ("deep/b.h5", "tf212_hard_full")):
        (tmp_path / "in" / name).write_bytes((golden / f"{source}.h5").read_bytes())
    command = ("batch", tmp_path / "in", tmp_path / "out", "--to", "ms", "--network")
    out, _ = run(*command, "--jobs", "2")
    assert out.splitlines()[-1] == "2 converted, 0 unchanged, 0 failed"
    assert "class Net(nn.Cell)" in (tmp_path / "out/deep/b.py").read_text()
    assert run(*command)[0].splitlines()[-1] == "0 converted, 2 unchanged, 0 failed"
    (tmp_path / "out/a.py").unlink()
    assert run(*command)[0].splitlines()[-1] == "1 converted, 1 unchanged, 0 failed"
    assert (tmp_path / "out/a.py").exists()
    (tmp_path / "in/mine.h5").write_bytes((tmp_path / "in/a.h5").read_bytes())
    (tmp_path / "out/mine.py").write_text("mine")
    assert "mine.py: exists already; try --force" in run(*command, code=1)[1]
    assert (tmp_path / "out/mine.py").read_text() == "mine"
    (tmp_path / "in/c.pt").write_bytes((ROOT / "samples/tagger.pt").read_bytes())
    _, err = run(*command, code=1)
    assert "c.pt: the file does not record its network" in err
    assert not (tmp_path / "out/c.ckpt").exists()


def test_options_that_say_nothing_without_another_are_refused_once(folder, tmp_path):
    pairs = find(folder, tmp_path / "out", ".ckpt")
    for options in ({"stubs": ["x"]}, {"like_order": True}, {"fill": {"x": "zeros"}}):
        with pytest.raises(ckptconv.UsageError, match=r"expected (network|like)=.* too"):
            ckptconv.convert_many(pairs, to="mindspore", **options)
    for options in ({"stubs": "x"}, {"force": "no"}):
        with pytest.raises(ckptconv.UsageError, match=next(iter(options))):
            ckptconv.convert_many(pairs, to="mindspore", **options)
    assert not (tmp_path / "out").exists()


def test_who_counts_bytes_changes_no_conversion(folder, tmp_path):
    pairs = find(folder, tmp_path / "out", ".ckpt")
    counts = [], []
    for count in counts:
        outcomes = ckptconv.convert_many(pairs, to="mindspore", progress=count.append)
    assert statuses(outcomes) == {name: FIRST[name].replace(CONVERTED, UNCHANGED) for name in FIRST}
    assert (bool(counts[0]), counts[1]) == (True, [])
