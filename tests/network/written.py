"""Writing a network, importing it, and running it: what every test here does."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from dataclasses import replace

import numpy as np

import ckptconv
from ckptconv.codegen.emit import emit
from ckptconv.codegen.emit.modules import Columns
from ckptconv.codegen.emit.names import paths
from ckptconv.dialects import dialect
from ckptconv.dialects.keras.model_config import entry
from ckptconv.dialects.keras.network import read

_COUNT = itertools.count()


def written(source, target, folder):
    """Return (the imported module, the weights' path, the names of its inputs)."""
    checkpoint, graph = ckptconv.inspect(source), ckptconv.load(source)
    known = paths([layer.path for layer in graph])
    network = read(
        entry(checkpoint.facts.config),
        checkpoint.facts.keras_version,
        list(known),
        f"The network of {source.name}",
    )
    nodes = [n if n.layer is None else replace(n, layer=known[n.layer]) for n in network]
    network = replace(network, nodes=tuple(nodes))
    weights = folder / ("model.pt" if target == "torch" else "model.ckpt")
    text = emit(
        network,
        graph,
        target,
        Columns(dialect(target).forms, dialect("keras").forms),
        weights=weights.name,
    )
    ckptconv.save(graph, weights, to=target, force=True)
    return imported(text, folder), weights, [value.name for value in network.inputs]


def imported(text, folder):
    name = f"network_{next(_COUNT)}"
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # MindSpore asks for the source by the module's name
    spec.loader.exec_module(module)
    return module


def flat(values):
    return list(values) if isinstance(values, tuple | list) else [values]


def run_torch(module, weights, arrays):
    import torch

    with torch.no_grad():
        given = module.load(weights)(*[torch.from_numpy(a) for a in arrays])
    return [value.numpy() for value in flat(given)]


def close(given, wanted, limit):
    assert [g.shape for g in given] == [w.shape for w in wanted]
    worst = max(float(np.abs(g - w).max()) for g, w in zip(given, wanted, strict=True))
    assert worst <= limit, worst
