"""Features of layers of frames: ConvLSTM of every rank, in both directions, with states."""

from __future__ import annotations

_FRAMES = {1: (3, 14, 2), 2: (3, 7, 2, 2), 3: (3, 7, 2, 2, 1)}
"""Rank → what an image of 6 × 7 × 2 numbers is made to: (time, places, channels)."""
_SETTINGS = (
    (1, {}),
    (1, {"strides": 2, "recurrent_activation": "hard_sigmoid", "use_bias": False}),
    (1, {"dropout": 0.2, "return_sequences": True}),
    (2, {"padding": "same", "go_backwards": True}),
    (2, {"return_sequences": True, "data_format": "channels_first"}),
    (2, {"return_sequences": True, "dilation_rate": 2, "padding": "same"}),
    (3, {"padding": "same", "activation": "relu"}),
)


def features(keras):
    """Return name → function of ``features.Inputs`` that gives a value or a list of them."""
    L = keras.layers  # noqa: N806

    def of(rank, settings, mode=None):
        layer = getattr(L, f"ConvLSTM{rank}D")

        def build(i):
            made = layer(3, 2, **settings)
            made = made if mode is None else L.Bidirectional(made, merge_mode=mode)
            return made(L.Reshape(_FRAMES[rank])(i.image))

        return build

    def states(rank):
        layer = getattr(L, f"ConvLSTM{rank}D")

        def build(i):
            frames = L.Reshape(_FRAMES[rank])(i.image)
            _, *last = layer(3, 2, padding="same", return_state=True)(frames)
            again = layer(3, 2, padding="same", return_sequences=True)
            return [again(frames * 0.5, initial_state=last), last[1]]

        return build

    def turned(i):
        first = L.ConvLSTM2D(3, 2, go_backwards=True, return_sequences=True)
        back = L.ConvLSTM2D(3, 2, return_sequences=True)
        return L.Bidirectional(first, backward_layer=back)(L.Reshape(_FRAMES[2])(i.image))

    found = {"ConvLSTM2D-turned": turned}
    found |= {f"ConvLSTM{rank}D-states": states(rank) for rank in _FRAMES}
    for i, (rank, settings) in enumerate(_SETTINGS):
        for mode in (None, ("concat", "sum")[i % 2])[: 1 if "go_backwards" in settings else 2]:
            found[f"ConvLSTM{rank}D-{'-'.join(settings)}-{mode}"] = of(rank, settings, mode)
    return found
