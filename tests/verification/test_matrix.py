"""Every kind × layers × directions × bias, in all six directions, proven in the real frameworks."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

import ckptconv
from ckptconv.verification.verify import verify

torch = pytest.importorskip("torch")
KINDS = ("LSTM", "GRU", "RNN")
FILES = {"torch": "m.pt", "mindspore": "m.ckpt", "keras": "m.h5"}
ROUND = [("torch", "keras"), ("keras", "mindspore"), ("mindspore", "torch")]
"""Each framework once as source and once as target; the directions back load the same files."""


def name(kind, levels, directions, bias):
    return f"{kind.lower()}_{levels}_{directions}_{'bias' if bias else 'plain'}"


def source(folder, shapes):
    """Write one file with a layer of each shape."""
    torch.manual_seed(5)
    layers = {
        name(kind, levels, directions, bias): getattr(torch.nn, kind)(
            4, 5, levels, bias=bias, bidirectional=directions == 2
        )
        for kind, levels, directions, bias in shapes
    }
    torch.save(torch.nn.ModuleDict(layers).state_dict(), folder / FILES["torch"])
    return folder / FILES["torch"]


def known(framework, shapes):
    """Return what a Keras file does not tell of a GRU without biases."""
    if framework != "keras":
        return None
    return {
        name("GRU", levels, *rest) + (f"_l{k}" if levels > 1 else ""): "GRU(reset_after=True)"
        for kind, levels, *rest in shapes
        if kind == "GRU" and not rest[1]
        for k in range(levels)
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(FILES, 2)))
def test_matrix(tmp_path, one, other, kind):
    shapes = list(itertools.product([kind], (1, 2, 3), (1, 2), (True, False)))
    run = (one, other) in ROUND
    for framework in {one, other} if run else ():
        pytest.importorskip(framework)
    start = source(tmp_path, shapes)
    if one != "torch":
        start = tmp_path / FILES[one]
        ckptconv.convert(tmp_path / FILES["torch"], start, to=one)
    target = tmp_path / ("to_" + FILES[other])
    kinds = {"kinds": known(one, shapes)}
    ckptconv.convert(start, target, to=other, **kinds)
    report = verify(start, target, run=run, target_kinds=known(other, shapes), **kinds)
    assert report.ok, [layer.cause for layer in report.layers if not layer.ok]
    runs = [result for layer in report.layers for result in layer.runs]
    outputs = [result for result in runs if not result.state]
    assert len(outputs) == (3 if run else 1) * len(report.layers) >= len(shapes)
    assert len(runs) >= 2 * len(outputs)
    assert max(result.difference.max_abs for result in runs) < 2e-6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_bounded(tmp_path):
    """A layer of 128 MiB on both sides, in less than one of them."""
    size = 2048
    rng = np.random.default_rng(1)
    arrays = {
        f"lstm.weight_{part}_l0": rng.standard_normal((4 * size, size), np.float32) / size**0.5
        for part in ("ih", "hh")
    }
    graph = ckptconv.from_state_dict(arrays, "torch")
    paths = [str(tmp_path / name) for name in ("m.safetensors", "m.ckpt")]
    for path, to in zip(paths, ("torch", "mindspore"), strict=True):
        ckptconv.save(graph, path, to=to)
    # ru_maxrss would count the parent's memory, VmHWM is this program's own.
    script = (
        "import sys; from ckptconv.verification.verify import verify;"
        "assert verify(*sys.argv[1:]).ok;"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, check=True)
    assert int(done.stdout.split()[1]) < 110 << 10
