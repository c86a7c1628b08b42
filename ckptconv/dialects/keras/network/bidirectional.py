"""Bidirectional of any recurrent layer: two directions, and how they are merged."""

from __future__ import annotations

from typing import Any

from ckptconv.dialects.keras.network import conv_lstm
from ckptconv.dialects.keras.network.builder import Builder, Site, check_paths, masked
from ckptconv.dialects.keras.network.recurrent import (
    Cell,
    Run,
    batch_first,
    cells_of,
    initial,
    mask_of,
    require_rolled,
    rows,
    run_layer,
    stack,
)
from ckptconv.dialects.keras.network.structure import WHOLE, step
from ckptconv.errors import DialectError
from ckptconv.graph.network import Value


def bidirectional(b: Builder, site: Site) -> list[Value]:
    """Bidirectional of any recurrent layer, with every merge_mode."""
    forward = site.layer.inner("layer")
    if forward is None:
        raise DialectError("a Bidirectional without a layer", tensor=site.where)
    backward = site.layer.inner("backward_layer") or forward
    if {forward.class_name, backward.class_name} <= {*conv_lstm.CLASSES}:
        outs = conv_lstm.bidirectional(b, site, (forward, backward))
        return _join(b, site, site.get("merge_mode", default="concat"), outs)
    halves = [cells_of(b, half, site.where) for half in (forward, backward)]
    inner = Site(forward, site.path, site.inputs, site.kwargs)
    x = batch_first(b, inner)
    fed, mask = in_time(b, inner, x), mask_of(b, inner, x)
    mask = None if mask is None else in_time(b, inner, mask)
    sequences = bool(inner.get("return_sequences"))
    zero = sequences and b.tf_keras
    for half in (forward, backward) if zero else ():
        require_rolled(site, half, mask)
    flat = [cell for half in halves for cell in half]
    states = rows(initial(b, inner, flat), flat)
    paths = b.paths_of(site.path)
    if len(paths) == 1 and len(flat) == 2 and flat[0] == flat[1]:
        runs = _both(b, fed, mask, flat, paths[0], states, zero=zero)
    else:
        check_paths(site, paths, len(flat), f"the weights of {len(flat)} recurrent layers")
        count = len(halves[0])
        runs = [
            stack(b, fed, mask, cells, paths[i * count :][: len(cells)],
                   states[i * count :][: len(cells)], backwards=bool(i), zero=zero)
            for i, cells in enumerate(halves)
        ]  # fmt: skip
        if sequences:
            runs[1] = Run(b.add("flip", (runs[1].y,), axis=1), runs[1].states)
    return _merged(b, site, inner, x, runs, whole=runs[0].y is runs[-1].y)


def in_time(b: Builder, inner: Site, x: Value) -> Value:
    """Return what the forward layer reads in order: where it goes backwards, all is turned.

    The backward layer goes forwards then, and its outputs are turned once more as they always are.
    """
    return b.add("flip", (x,), axis=1) if inner.get("go_backwards") else x


def _both(
    b: Builder,
    x: Value,
    mask: Value | None,
    cells: list[Cell],
    path: str,
    states: list[list[Value]],
    *,
    zero: bool,
) -> list[Run]:
    """Run one layer of the target that has both directions; y is whole in both runs."""
    run = run_layer(b, x, mask, cells, path, states, zero=zero)
    return [Run(run.y, (states,)) for states in run.states]


def _merged(
    b: Builder, site: Site, inner: Site, x: Value, runs: list[Run], *, whole: bool
) -> list[Value]:
    mode = site.get("merge_mode", default="concat")
    sequences = bool(inner.get("return_sequences"))
    if mode == "concat" and sequences and whole:
        joined = [runs[0].y]
    else:
        outs = [_half(b, x, run, i, sequences, whole) for i, run in enumerate(runs)]
        joined = _join(b, site, mode, outs)
    joined = [masked(value, x.mask if sequences else None) for value in joined]
    flat = [state for run in runs for states in run.states for state in states]
    if inner.get("stateful"):
        b.state_results += flat
    return [*joined, *flat] if inner.get("return_state") else joined


def _half(b: Builder, x: Value, run: Run, i: int, sequences: bool, whole: bool) -> Value:
    """Return what one direction gives; ``whole``: its y holds both."""
    units = run.states[-1][0].shape[-1] or 0
    y = run.y
    if not sequences and x.mask is None:
        return run.states[-1][0]
    if whole:
        cut = (i * units, (i + 1) * units, None)
        y = b.add("index", (y,), (*y.shape[:2], units), cuts=(WHOLE, WHOLE, cut))
    if sequences:
        return y
    return step(b, y, 0 if i and whole else -1)


def _join(b: Builder, site: Site, mode: Any, outs: list[Value]) -> list[Value]:
    if mode is None:
        return outs
    sizes = [value.shape[-1] or 0 for value in outs]
    if mode == "concat":
        return [b.add("concat", outs, (*outs[0].shape[:-1], sum(sizes)), axis=-1)]
    if sizes[0] != sizes[1]:
        raise site.refuse(f"merge_mode {mode} of halves of {sizes[0]} and {sizes[1]} units")
    if mode in ("sum", "mul"):
        return [b.add("add" if mode == "sum" else "multiply", outs)]
    if mode == "ave":
        return [b.add("divide_number", (b.add("add", outs),), number=2)]
    raise DialectError("an unknown merge_mode", tensor=site.where, found=str(mode)[:80])


RULES = {"Bidirectional": bidirectional}
