"""Every kind × layers × directions × bias, in all six directions, proven in the real frameworks."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

import ckptconv
from ckptconv.proof.verify import verify

torch = pytest.importorskip("torch")
SHAPES = list(itertools.product(("LSTM", "GRU", "RNN"), (1, 2, 3), (1, 2), (True, False)))
FILES = {"torch": "m.pt", "mindspore": "m.ckpt", "keras": "m.h5"}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """One file with a layer of each shape."""
    torch.manual_seed(5)
    layers = {}
    for kind, levels, directions, bias in SHAPES:
        name = f"{kind.lower()}_{levels}_{directions}_{'bias' if bias else 'plain'}"
        layers[name] = getattr(torch.nn, kind)(
            4, 5, levels, bias=bias, bidirectional=directions == 2
        )
    path = tmp_path_factory.mktemp("matrix") / FILES["torch"]
    torch.save(torch.nn.ModuleDict(layers).state_dict(), path)
    return path


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations(FILES, 2)))
def test_matrix(source, tmp_path, one, other):
    pytest.importorskip("mindspore")
    pytest.importorskip("keras")
    start = source
    if one != "torch":
        start = tmp_path / FILES[one]
        ckptconv.convert(source, start, to=one)
    target = tmp_path / ("to_" + FILES[other])
    ckptconv.convert(start, target, to=other)
    report = verify(start, target, run=True)
    assert report.ok, [layer.cause for layer in report.layers if not layer.ok]
    runs = [run for layer in report.layers for run in layer.runs]
    assert len(runs) == 3 * len(report.layers) >= 3 * len(SHAPES)
    assert max(run.difference.max_abs for run in runs) < 2e-6


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
        "import sys; from ckptconv.proof.verify import verify;"
        "assert verify(*sys.argv[1:]).ok;"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, check=True)
    assert int(done.stdout.split()[1]) < 110 << 10
