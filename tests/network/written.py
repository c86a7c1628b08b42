"""Writing a network, importing it, and running it: what every test here does."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys

import numpy as np

import ckptconv

_COUNT = itertools.count()
SUFFIX = {"torch": ".pt", "mindspore": ".ckpt"}


def written(source, target, folder, **options):
    """Return (the imported module, the weights' path, the names of its inputs)."""
    name = f"network_{next(_COUNT)}"
    text = folder / f"{name}.py"
    weights = folder / f"{name}{SUFFIX[target]}"
    ckptconv.convert(source, weights, to=target, network=text, **options)
    inputs = ckptconv.network(source, **options).inputs
    return imported(text), weights, [value.name for value in inputs]


def imported(path):
    """Return a generated module; MindSpore asks for its source by its name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def uncompiled(path):
    """Return a generated module of MindSpore whose network runs operator by operator."""
    text = path.read_text()
    assert text.count("    @ms.jit\n") == 1
    other = path.with_stem(f"{path.stem}_plain")
    other.write_text(text.replace("    @ms.jit\n", ""))
    return imported(other)


def check_text(path):
    """Hold generated text, a file or a folder of it, against ruff at two widths."""
    for command in (
        ["check"],
        ["format", "--check"],
        ["format", "--check", "--line-length=100"],
    ):
        ruff = [sys.executable, "-m", "ruff", *command, "--isolated", str(path)]
        done = subprocess.run(ruff, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def flat(values):
    return list(values) if isinstance(values, tuple | list) else [values]


def run_torch(module, weights, arrays):
    import torch

    with torch.no_grad():
        given = module.load(weights)(*[torch.from_numpy(a) for a in arrays])
    return [value.numpy() for value in flat(given)]


def run_mindspore(module, weights, arrays):
    """Run a network without compiling it, which would take a hundred times as long."""
    import mindspore as ms

    network = uncompiled(weights.with_suffix(".py")).load(str(weights))
    try:
        return [value.asnumpy() for value in flat(network(*[ms.Tensor(a) for a in arrays]))]
    except TypeError as error:  # compiled alone, stack takes a Parameter beside other tensors
        if "Ref[" not in str(error):
            raise
        return run_compiled(module, weights, arrays)[0]


def run_compiled(module, weights, *sets):
    """Compile a network of MindSpore once and run it on each set of inputs."""
    import mindspore as ms

    network = module.load(str(weights))
    given = [network(*[ms.Tensor(a) for a in arrays]) for arrays in sets]
    return [[value.asnumpy() for value in flat(values)] for values in given]


def close(given, wanted, limit):
    """Compare arrays; the limit is of what lies within one, and grows with larger values."""
    assert [g.shape for g in given] == [w.shape for w in wanted]
    pairs = [
        (g.astype(np.float64), w.astype(np.float64)) for g, w in zip(given, wanted, strict=True)
    ]
    worst = max(float(np.abs(g - w).max() / max(1, np.abs(w).max())) for g, w in pairs)
    assert worst <= limit, worst
