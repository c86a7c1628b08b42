"""ConvLSTM1D to 3D: a convolution of all steps at once, then one of the state in each step.

A node ``conv_lstm`` takes the gates of the input (batch, time, 4 · filters, places), the kernel of
the state, and first states (batch, filters, places), if any; it gives the outputs and last states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ckptconv.dialects.keras.convolution_pairs import OF_INPUT, OF_STATE
from ckptconv.dialects.keras.grouping import HALVES
from ckptconv.dialects.keras.model_config import Entry
from ckptconv.dialects.keras.network.builder import Builder, Site
from ckptconv.dialects.keras.network.convolutions import convolved, to_channels_first
from ckptconv.dialects.keras.network.elementwise import ALONG_AN_AXIS, activation_name
from ckptconv.dialects.keras.network.structure import channels_first, channels_last, integer, moved
from ckptconv.graph.network import Value

CLASSES = tuple(f"ConvLSTM{n}D" for n in (1, 2, 3))
_UNSAID = "that is not recorded"
"""For an activation: which one a layer has by default depends on the version of Keras."""


def conv_lstm(b: Builder, site: Site) -> list[Value]:
    """A ConvLSTM of any rank: its gates i, f, g, o of filters each (ConvLSTMCell.call)."""
    x, filters = site.x, integer(site, "filters")
    if x.mask is not None or site.get("stateful"):
        raise site.refuse("a ConvLSTM with a mask, or that is stateful")
    if site.get("go_backwards"):
        x = b.add("flip", (x,), axis=1)
    steps = b.add("fold", (x,), (None, *x.shape[2:]))
    images, last = to_channels_first(b, replace(site, inputs=(steps,)))
    gates = convolved(b, site, images, b.part(site, OF_INPUT), 4 * filters, 1)
    gates = b.add("unfold", (gates, x), (*x.shape[:2], *gates.shape[1:]))
    kernel = b.add("weight", (), (), layer=b.part(site, OF_STATE), param="weight", dtype="float32")
    shape = (x.shape[0], filters, *gates.shape[3:])
    states = [channels_first(b, state) if last else state for state in _first_states(site)]
    y, *ends = b.add_many(
        "conv_lstm",
        (gates, kernel, *states),
        {"y": (*x.shape[:2], *shape[1:]), "h": shape, "c": shape},
        **{key: _function(b, site, key) for key in ("activation", "recurrent_activation")},
    )
    if last:
        y = moved(b, y, (0, 1, *range(3, y.rank), 2))
        ends = [channels_last(b, state) for state in ends]
    out = y if site.get("return_sequences") else ends[0]
    return [out, *ends] if site.get("return_state") else [out]


def _function(b: Builder, site: Site, key: str) -> str:
    name = activation_name(b, site.get(key, default=_UNSAID), site.where)
    if name in ALONG_AN_AXIS:  # of other places, where the channels are first
        raise site.refuse(f"a ConvLSTM with {key}={name!r}")
    return name


def bidirectional(b: Builder, site: Site, halves: Sequence[Entry]) -> list[Value]:
    """Return what each direction gives, one after the other in time; without states."""
    if _first_states(site) or halves[0].config.get("return_state"):
        raise site.refuse("a Bidirectional of ConvLSTM with states")
    turned, found = bool(halves[0].config.get("go_backwards")), []
    for name, half, backwards in zip(HALVES, halves, (turned, not turned), strict=True):
        config = {**half.config, "go_backwards": backwards}
        inner = replace(site, layer=replace(half, config=config), path=(*site.path, name))
        found += conv_lstm(b, inner)
    if halves[0].config.get("return_sequences"):
        found[1] = b.add("flip", (found[1],), axis=1)
    return found


def _first_states(site: Site) -> Sequence[Value]:
    given = site.kwargs.get("initial_state")
    return [*given] if given else site.inputs[1:]


RULES = dict.fromkeys(CLASSES, conv_lstm)
