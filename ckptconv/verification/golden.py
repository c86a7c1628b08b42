"""``golden``: a model's outputs, made where it was trained, to be checked where it runs.

A vectors file is a plain ``.npz`` (arrays only, no pickle): ``meta`` is UTF-8 JSON, and for layer
i there are ``i.x i.lengths i.h i.c`` (inputs) and ``i.y i.last_h i.last_c`` (float64 outputs).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ckptconv import api
from ckptconv.errors import CkptconvError
from ckptconv.graph.graph import Graph, RecurrentLayer
from ckptconv.io.atomic import atomic_path, check_target
from ckptconv.options import DEVICES, ReadKeywords, ReadOptions, StrPath, stubs_of
from ckptconv.spelling import public
from ckptconv.tensors.regions import Array
from ckptconv.verification import npz
from ckptconv.verification.fingerprint import PRECISIONS, fingerprint, matrices
from ckptconv.verification.pairing import sublayer
from ckptconv.verification.reference.forward import Inputs, Outputs, weights_of
from ckptconv.verification.reference.inputs import (
    SHOWN_NOTHING,
    Limits,
    known_error,
    probe,
    reference,
    rounding_error,
    shows,
)
from ckptconv.verification.results.tensors import describe
from ckptconv.verification.sides import whole
from ckptconv.verification.stored_weights import own_weights

if TYPE_CHECKING:
    from typing_extensions import Unpack


FIELDS = ("x", "lengths", "h", "c", "y", "last_h", "last_c")
TARGETS = (*(("mindspore", device) for device in DEVICES), ("torch", "CPU"), ("keras", "CPU"))


@public(ReadKeywords)
def golden(
    src: StrPath,
    out: StrPath,
    *,
    network: bool = False,
    stubs: Iterable[str] = (),
    seed: int = 0,
    force: bool = False,
    **options: Unpack[ReadKeywords],
) -> dict[str, Any]:
    """Write inputs, states, lengths, outputs and tolerances for every recurrent layer of a file.

    Outputs are the float64 reference's. Tolerances are by framework and device: that for Ascend is
    four times what an emulation of its float16 path is off by on these very inputs, and so on; an
    arithmetic in which these numbers overflow has none.

    With ``network``, the inputs and outputs are the whole model's, computed by the framework that
    it is of, which must be installed.

    Args:
        src: a checkpoint; with ``network`` a Keras model or a torch.export archive.
        out: a new ``.npz`` file; written whole or not at all.
        network: vectors of the whole model instead of its recurrent layers.
        stubs: layers that a conversion leaves in a written network as functions.
        seed: of the inputs.
        force: replace an existing file.
        options: those of ``load``.

    Returns:
        The ``meta`` document that stands in the file.

    Raises:
        CkptconvError: the source cannot be read or has no recurrent layer, or ``out`` exists.

    Examples:
        >>> golden("model.pt", "vectors.npz")["layers"]  # doctest: +SKIP
    """
    whole("seed", seed)
    left = stubs_of(network, stubs)
    if network:
        from ckptconv.verification.network.vectors import write

        return write(src, out, ReadOptions(**options), left, seed=seed, force=force)
    graph = api.load(src, **options)
    check_target(out, graph.origin.files, force=force)
    layers = [sublayer(layer, 0, layer.num_layers) for layer in graph.recurrent]
    if not layers:
        raise CkptconvError("has no recurrent layer to make vectors of", file=graph.origin.path)
    arrays: dict[str, Array] = {}
    described = []
    for index, layer in enumerate(layers):
        given = probe(own_weights(graph, layer), seed)
        exact = reference(graph, [layer], given)
        if not shows(exact.h):
            raise CkptconvError(SHOWN_NOTHING, file=graph.origin.path, tensor=layer.path)
        values = zip(FIELDS, (*given, *exact), strict=True)
        arrays |= {f"{index}.{name}": array for name, array in values}
        described.append(_describe(graph, layer, given, exact))
    meta = {
        "schema": npz.LAYERS,
        "source": describe(graph),
        "seed": seed,
        "layers": described,
        "fingerprint": fingerprint(matrices(layers)),
    }
    with atomic_path(out, force=force) as temporary:
        npz.write(temporary, {"meta": npz.encode(meta), **arrays})
    return meta


def _describe(graph: Graph, layer: RecurrentLayer, given: Inputs, exact: Outputs) -> dict[str, Any]:
    emulate = partial(reference, graph, [layer], given)
    weights = weights_of(layer)
    layers, directions, hidden, out = weights.shape
    return {
        "path": layer.path,
        "kind": weights.kind,
        "layers": layers,
        "directions": directions,
        "hidden_size": hidden,
        "output_size": out,
        "input_size": weights.input_size,
        "nonlinearity": weights.style.activation,
        "dtype": weights.cells[0, 0].w_hh.dtype.name,
        "tolerances": _finite(
            (f"{framework} {device}", known_error(exact, framework, device, emulate))
            for framework, device in TARGETS
        ),
        "rounding": _finite(
            (name, rounding_error(layer, dtype, given, exact)) for name, dtype in PRECISIONS.items()
        ),
    }


def _finite(limits: Iterable[tuple[str, Limits]]) -> dict[str, list[float]]:
    """Return limits by name, without those of an arithmetic in which these numbers overflow."""
    return {name: list(limit) for name, limit in limits if np.isfinite(limit).all()}
