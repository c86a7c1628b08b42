"""Features of Keras's layers, each a small network over inputs that all of them share."""

from __future__ import annotations

import importlib
from functools import partial
from itertools import product

from tests.network import features_attention, features_frames, features_operations

STEPS, FEATURES, VOCABULARY = 6, 3, 9
_LENGTHS = (
    "Conv1D",
    "DepthwiseConv1D",
    "ZeroPadding1D",
    "Cropping1D",
    "UpSampling1D",
    "MaxPooling1D",
)
"""What changes how many steps there are: MindSpore's GRU must know them."""


class Inputs:
    """x (batch, 6, 3), z (batch, 6, 3), v (batch, 5), image (batch, 6, 7, 2), tokens (batch, 6)."""

    def __init__(self, keras):
        self.x = keras.Input((STEPS, FEATURES), name="x")
        self.z = keras.Input((STEPS, FEATURES), name="z")
        self.v = keras.Input((5,), name="v")
        self.image = keras.Input((6, 7, 2), name="image")
        self.tokens = keras.Input((STEPS,), dtype="int32", name="tokens")

    def all(self):
        return [self.x, self.z, self.v, self.image, self.tokens]


def _at_random(L, whole):  # noqa: N803
    """Return layers that change images in training; whole numbers come as images of one channel."""
    by_factor = ("Brightness", "Contrast", "Hue", "Saturation", "Rotation", "Zoom", "Shear")
    bare = ("Invert", "Erasing", "Flip")
    return [
        *([lambda: L.Reshape((2, 3, 1))] if whole else []),
        *(lambda name=name: getattr(L, f"Random{name}")(0.3) for name in by_factor),
        *(lambda name=name: getattr(L, f"Random{name}")() for name in bare),
        lambda: L.RandomTranslation(0.2, 0.1),
    ]


def features(keras):
    """Return name → function of Inputs that gives a value or a list of them."""
    L = keras.layers  # noqa: N806
    found = {}

    def chain(name, *layers, of="x"):
        def build(i):
            value = getattr(i, of)
            for layer in layers:
                value = layer()(value)
            return value

        found[name] = build

    for kind, sequences in product(("LSTM", "GRU", "SimpleRNN"), (True, False)):
        layer = getattr(L, kind)
        add = f"{kind}-{'sequences' if sequences else 'last'}"
        k = {"return_sequences": sequences}
        chain(add, lambda layer=layer, k=k: layer(4, **k))
        chain(f"{add}-backwards", lambda layer=layer, k=k: layer(4, go_backwards=True, **k))
        chain(f"{add}-nobias", lambda layer=layer, k=k: layer(4, use_bias=False, **k))
        chain(f"{add}-relu", lambda layer=layer, k=k: layer(4, activation="relu", **k))
        chain(f"{add}-softsign", lambda layer=layer, k=k: layer(4, activation="softsign", **k))
        chain(f"{add}-masking", L.Masking, lambda layer=layer, k=k: layer(4, **k))
        chain(
            f"{add}-embedding-mask",
            lambda: L.Embedding(VOCABULARY, 3, mask_zero=True),
            lambda layer=layer, k=k: layer(4, **k),
            of="tokens",
        )
        chain(
            f"{add}-zero-output", L.Masking,
            lambda layer=layer, k=k: layer(4, zero_output_for_mask=True, **k),
        )  # fmt: skip
        chain(
            f"{add}-masking-backwards", L.Masking,
            lambda layer=layer, k=k: layer(4, go_backwards=True, **k),
        )  # fmt: skip
        for mode in ("concat", "sum", "mul", "ave", None):
            chain(
                f"{add}-bi-{mode}",
                lambda layer=layer, k=k, mode=mode: L.Bidirectional(layer(4, **k), merge_mode=mode),
            )
        chain(
            f"{add}-bi-masking", L.Masking,
            lambda layer=layer, k=k: L.Bidirectional(layer(4, **k)),
        )  # fmt: skip

        def turned(layer=layer, k=k):
            back = layer(4, go_backwards=False, **k)
            return L.Bidirectional(layer(4, go_backwards=True, **k), backward_layer=back)

        chain(f"{add}-bi-turned-masking", L.Masking, turned)
    for kind in ("LSTM", "GRU"):
        layer = getattr(L, kind)
        for gate in ("hard_sigmoid", "tanh", "relu", "softmax"):
            chain(
                f"{kind}-gates-{gate}",
                lambda layer=layer, gate=gate: layer(4, recurrent_activation=gate),
            )
        chain(
            f"{kind}-bi-hard",
            lambda layer=layer: L.Bidirectional(layer(4, recurrent_activation="hard_sigmoid")),
        )
        chain(
            f"{kind}-hard-nobias",
            lambda layer=layer: layer(4, recurrent_activation="hard_sigmoid", use_bias=False),
        )
    chain("GRU-reset-before", lambda: L.GRU(4, reset_after=False))
    chain("GRU-reset-before-bi", lambda: L.Bidirectional(L.GRU(4, reset_after=False)))
    for gate in ("elu", "selu", "softplus", "sigmoid", "gelu", "silu"):
        chain(f"SimpleRNN-{gate}", lambda gate=gate: L.SimpleRNN(3, activation=gate))
    chain("SimpleRNN-relu-layer", lambda: L.SimpleRNN(3, activation=L.ReLU()))
    slopes = {
        "activation": lambda: L.LeakyReLU(negative_slope=0.4),
        "recurrent_activation": lambda: L.ReLU(max_value=0.3),
    }
    for layer in (L.LSTM, L.GRU):
        chain(
            f"{layer.__name__}-activation-layers",
            lambda layer=layer: layer(4, **{key: make() for key, make in slopes.items()}),
        )
    chain(
        "SimpleRNN-bi-activation-layers",
        lambda: L.Bidirectional(L.SimpleRNN(3, activation=L.Activation(L.ELU()))),
    )

    def halves(i):
        return L.Bidirectional(
            L.LSTM(4, return_sequences=True),
            backward_layer=L.LSTM(4, return_sequences=True, go_backwards=True, activation="relu"),
        )(i.x)

    def halves_of_two_kinds(i):
        return L.Bidirectional(
            L.LSTM(4, return_sequences=True),
            backward_layer=L.GRU(5, return_sequences=True, go_backwards=True),
        )(i.x)

    def half_of_cells(i):
        cells = L.RNN([L.LSTMCell(2), L.LSTMCell(3)])
        return L.Bidirectional(cells, backward_layer=L.GRU(4, go_backwards=True))(i.x)

    def other_half_of_cells(i):
        cells = L.RNN([L.LSTMCell(2), L.LSTMCell(3)], go_backwards=True)
        return L.Bidirectional(L.GRU(4), backward_layer=cells)(i.x)

    found |= {
        "halves": halves,
        "halves-of-two-kinds": halves_of_two_kinds,
        "half-of-cells": half_of_cells,
        "other-half-of-cells": other_half_of_cells,
    }
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        layer = getattr(L, kind)
        cell = getattr(L, f"{kind}Cell")

        def states(i, layer=layer):
            return layer(4, return_state=True, return_sequences=True)(i.x)

        def initial(i, layer=layer):
            first = layer(4, return_state=True)(i.x)
            return layer(4, return_sequences=True)(i.z, initial_state=first[1:])

        def initial_masked(i, layer=layer):
            first = layer(4, return_state=True)(i.x)
            return layer(4)(L.Masking()(i.z), initial_state=first[1:])

        def bi_states(i, layer=layer):
            first = L.Bidirectional(layer(4, return_state=True))(i.x)
            return L.Bidirectional(layer(4, return_sequences=True))(i.z, initial_state=first[1:])

        def bi_states_masked(i, layer=layer):
            first = L.Bidirectional(layer(4, return_state=True))(i.x)
            both = L.Bidirectional(layer(4, return_sequences=True))
            return layer(3)(both(L.Masking()(i.z), initial_state=first[1:]))

        found |= {
            f"{kind}-bi-states-masked": bi_states_masked,
            f"{kind}-states": states,
            f"{kind}-initial": initial,
            f"{kind}-initial-masked": initial_masked,
            f"{kind}-bi-states": bi_states,
        }
        chain(f"RNN-{kind}", lambda cell=cell: L.RNN(cell(4), return_sequences=True))
    chain("RNN-stacked", lambda: L.RNN([L.LSTMCell(4), L.LSTMCell(3)], return_sequences=True))
    chain("RNN-stacked-masking", L.Masking, lambda: L.RNN([L.LSTMCell(4), L.LSTMCell(3)]))
    chain("RNN-stacked-backwards", lambda: L.RNN([L.LSTMCell(4), L.LSTMCell(3)], go_backwards=True))
    chain("td-dense", lambda: L.TimeDistributed(L.Dense(2, activation="relu")))
    chain("td-flatten", lambda: L.TimeDistributed(L.Flatten()), of="image")
    chain("td-lstm", lambda: L.TimeDistributed(L.LSTM(3)), of="image")
    chain("td-conv", lambda: L.TimeDistributed(L.Conv1D(3, 2)), of="image")
    chain("td-masking", L.Masking, lambda: L.TimeDistributed(L.Dense(2)), lambda: L.LSTM(3))
    for name in (
        *("relu", "sigmoid", "tanh", "softmax", "elu", "selu", "softplus", "softsign"),
        *("exponential", "hard_sigmoid", "gelu", "silu", "mish", "relu6", "leaky_relu"),
        *("log_softmax", "linear"),
    ):
        chain(f"activation-{name}", lambda name=name: L.Dense(4, activation=name))
    chain("ReLU-max", lambda: L.ReLU(max_value=0.5))
    chain("ReLU-slope", lambda: L.ReLU(negative_slope=0.2))
    chain("LeakyReLU", lambda: L.LeakyReLU(negative_slope=0.1))
    chain("ELU", lambda: L.ELU(alpha=0.7))
    chain("Softmax", lambda: L.Softmax(axis=1))
    chain("PReLU", lambda: L.PReLU(shared_axes=[1]))
    chain("Dropout", lambda: L.Dropout(0.4), lambda: L.GaussianNoise(0.1), lambda: L.Dense(2))
    chain("SpatialDropout1D", lambda: L.SpatialDropout1D(0.4), lambda: L.Dense(2))
    chain("Rescaling", lambda: L.Rescaling(0.5, 0.1))
    for image in ("image", "tokens"):
        chain(f"Random-{image}", *_at_random(L, image == "tokens"), lambda: L.Dense(2), of=image)
    chain("Flatten", L.Flatten, lambda: L.Dense(2))
    chain("Flatten-image", L.Flatten, lambda: L.Dense(2), of="image")
    chain("Reshape", lambda: L.Reshape((3, -1)), lambda: L.LSTM(2))
    chain("Permute", lambda: L.Permute((2, 1)), lambda: L.Dense(2))
    chain("Permute-3", lambda: L.Permute((3, 1, 2)), of="image")
    chain("RepeatVector", lambda: L.RepeatVector(4), lambda: L.GRU(3), of="v")
    chain("LayerNormalization", L.LayerNormalization)
    chain("LayerNormalization-2", lambda: L.LayerNormalization(axis=[1, 2]))
    bare = {"scale": False, "center": False}
    chain("LayerNormalization-image", lambda: L.LayerNormalization(axis=[2, 3]), of="image")
    chain("LayerNormalization-bare", lambda: L.LayerNormalization(epsilon=0.2, **bare))
    chain("LayerNormalization-bare-2", lambda: L.LayerNormalization(axis=[1, 2], **bare))
    for equation in ("...x,xy->...y", "btx,xy->bty"):
        options = {"output_shape": 4 if "." in equation else (None, 4), "activation": "relu"}
        for axes in (None, "y"):
            chain(
                f"EinsumDense-{equation[0]}-{axes}",
                L.Masking,
                lambda axes=axes, k=options, equation=equation: L.EinsumDense(
                    equation, bias_axes=axes, **k
                ),
                lambda: L.LSTM(2),
            )
    chain("RMSNormalization", L.RMSNormalization, lambda: L.Dense(2))
    for axis, invert in ((-1, False), (1, True), ([2, 1], False), (None, False)):
        chain(
            f"Normalization-{axis}",
            lambda axis=axis, invert=invert: L.Normalization(axis=axis, invert=invert),
            lambda: L.Dense(2),
        )
    for invert in (False, True):
        chain(
            f"Normalization-numbers-{invert}", L.Masking,
            lambda invert=invert: L.Normalization(mean=0.7, variance=2.3, invert=invert),
            lambda: L.LSTM(2),
        )  # fmt: skip
        for row in ([0.7, -1.3, 0.2], [0.4]):
            chain(
                f"Normalization-row-{len(row)}-{invert}", L.Masking,
                lambda invert=invert, row=row: L.Normalization(
                    mean=row, variance=[1 + n * n for n in row], invert=invert
                ),
                lambda: L.LSTM(2),
            )  # fmt: skip
    many = {"mean": [n / 7 for n in range(24)], "variance": [1 + n / 9 for n in range(24)]}
    chain("Normalization-row-24", lambda: L.Dense(24), lambda: L.Normalization(**many))
    scale = importlib.import_module("keras.src.applications.convnext").LayerScale
    chain("LayerScale", lambda: scale(0.3, 3), lambda: L.Dense(2))
    chain("UnitNormalization", lambda: L.UnitNormalization(axis=1), lambda: L.Dense(2))
    chain("BatchNormalization", L.BatchNormalization)
    chain("BatchNormalization-v", L.BatchNormalization, of="v")
    chain("BatchNormalization-image", L.BatchNormalization, of="image")
    chain("BatchNormalization-volume", lambda: L.Reshape((3, 7, 2, 2)), L.BatchNormalization,
          of="image")  # fmt: skip
    chain("BatchNormalization-axis", lambda: L.BatchNormalization(axis=1))
    chain("GroupNormalization", lambda: L.GroupNormalization(2), of="image")
    for padding, strides in product(("valid", "same", "causal"), (1, 2)):
        k = {"padding": padding, "strides": strides}
        chain(f"Conv1D-{padding}-{strides}", lambda k=k: L.Conv1D(4, 3, activation="relu", **k))
    chain("Conv1D-dilated", lambda: L.Conv1D(4, 2, dilation_rate=2, padding="causal"))
    chain("Conv1D-groups", lambda: L.Conv1D(6, 2, groups=3))
    chain("DepthwiseConv1D", lambda: L.DepthwiseConv1D(3, depth_multiplier=2, dilation_rate=2))
    chain("DepthwiseConv2D", lambda: L.DepthwiseConv2D((2, 3), strides=2), of="image")
    chain("DepthwiseConv2D-same", lambda: L.DepthwiseConv2D(3, padding="same"), of="image")
    chain("SeparableConv1D", lambda: L.SeparableConv1D(4, 3, padding="same", strides=2))
    chain("SeparableConv1D-dilated", lambda: L.SeparableConv1D(
        4, 2, dilation_rate=2, depth_multiplier=2, use_bias=False))  # fmt: skip
    chain("SeparableConv2D", lambda: L.SeparableConv2D(3, (3, 2), depth_multiplier=2,
          activation="relu"), of="image")  # fmt: skip
    for padding, strides in product(("valid", "same"), (1, 2)):
        k = {"padding": padding, "strides": strides}
        chain(f"Conv2D-{padding}-{strides}", lambda k=k: L.Conv2D(4, (3, 2), **k), of="image")
        chain(f"Conv2DT-{padding}-{strides}", lambda k=k: L.Conv2DTranspose(3, 3, **k), of="image")
        chain(f"MaxPooling1D-{padding}-{strides}", lambda k=k: L.MaxPooling1D(3, **k))
        if (padding, strides) != ("same", 2):  # backends of Keras differ
            chain(f"AveragePooling1D-{padding}-{strides}", lambda k=k: L.AveragePooling1D(3, **k))
        chain(f"MaxPooling2D-{padding}-{strides}", lambda k=k: L.MaxPooling2D(2, **k), of="image")
    chain("AveragePooling2D", lambda: L.AveragePooling2D(2, padding="valid"), of="image")
    for rank, of in ((1, "x"), (2, "image")):
        for name in ("GlobalAveragePooling", "GlobalMaxPooling"):
            chain(f"{name}{rank}D", getattr(L, f"{name}{rank}D"), of=of)
        chain(f"ZeroPadding{rank}D", getattr(L, f"ZeroPadding{rank}D"), of=of)
        chain(f"Cropping{rank}D", lambda rank=rank: getattr(L, f"Cropping{rank}D")(1), of=of)
        chain(f"UpSampling{rank}D", getattr(L, f"UpSampling{rank}D"), of=of)
    for size in (2, (2, 3)):
        made = partial(L.UpSampling2D, size, interpolation="bilinear")
        chain(f"UpSampling2D-bilinear-{size}", made, of="image")
    chain("pool-keepdims", lambda: L.GlobalAveragePooling1D(keepdims=True))
    chain("pool-masked", L.Masking, L.GlobalAveragePooling1D)
    chain("pool-masked-keepdims", L.Masking, lambda: L.GlobalAveragePooling1D(keepdims=True))
    for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"):
        found[name] = lambda i, name=name: getattr(L, name)()([i.x, i.z])
    for name in ("Add", "Subtract", "Average"):
        found[f"{name}-masked"] = lambda i, name=name: L.LSTM(3)(
            getattr(L, name)()([L.Masking()(i.x), L.Masking()(i.z)])
        )
    found |= {
        "Concatenate": lambda i: L.Concatenate()([i.x, i.z, i.x]),
        "Concatenate-time": lambda i: L.Concatenate(axis=1)([i.x, i.z]),
        "Concatenate-masked": lambda i: L.GRU(3)(L.Concatenate()([L.Masking()(i.x), i.z])),
        "Concatenate-two-masks": lambda i: L.GRU(3)(
            L.Concatenate()([L.Masking()(i.x), L.Masking()(i.z)])
        ),
        "Concatenate-time-masked": lambda i: L.LSTM(3)(
            L.Concatenate(axis=1)([L.Masking()(i.x), i.z])
        ),
        "Dot-normalized": lambda i: L.Dot(2, normalize=True)([i.x, i.z]),
        "Dot-vectors-normalized": lambda i: L.Dot(1, normalize=True)([i.v, L.Dense(5)(i.v)]),
        "Dot-vectors": lambda i: L.Dot(1)([i.v, L.Dense(5)(i.v)]),
        "Dot-matrices": lambda i: L.Dot((2, 2))([i.x, i.z]),
        "Dot-time": lambda i: L.Dot((1, 1))([i.x, i.z]),
        "Dot-time-unit": lambda i: L.Dot((1, 1), normalize=True)([i.x, i.z]),
        "Dot-mixed": lambda i: L.Dot((1, 2))([L.Dense(3)(i.v), i.x]),
        "operators": lambda i: (i.x + i.z) * 2.0 - 1.0,
        "Multiply-masked-weights": lambda i: L.GRU(3)(
            L.Multiply()([L.Masking()(i.x), L.Dense(1)(i.z), L.Reshape((1, 3))(L.Dense(3)(i.v))])
        ),
        "Multiply-two-masks": lambda i: L.GRU(3)(
            L.Multiply()([L.Masking()(i.x), L.Dense(1)(L.Masking()(i.z))])
        ),
        "slice-ellipsis": lambda i: i.x[..., :2] * i.z[:, None, ..., -1:][:, 0],
        "slice": lambda i: L.Dense(2)(i.x[:, -1, :2]),
        "two-inputs": lambda i: L.Dense(2)(L.Concatenate()([L.LSTM(3)(i.x), L.Dense(4)(i.v)])),
    }

    def twice(i):
        shared = L.LSTM(4, return_sequences=True)
        return L.Subtract()([shared(i.x), shared(i.z)])

    def twice_with_one_mask(i):
        shared = L.Bidirectional(L.LSTM(4, return_sequences=True))
        other = L.GRU(3)
        masked = L.Masking()(i.x)
        return [
            shared(masked),
            L.Subtract()([shared(i.z), i.x[..., :1]]),
            other(i.z),
            other(masked),
        ]

    def residual(i):
        x = L.Dense(4)(i.x)
        y = L.LSTM(4, return_sequences=True)(x)
        return L.LayerNormalization()(L.Add()([x, y]))

    def nested(i):
        a = keras.Input((STEPS, FEATURES))
        inner = keras.Model(a, L.Dense(2)(L.Bidirectional(L.LSTM(3))(L.Masking()(a))))
        return L.Subtract()([inner(i.x), inner(i.z)])

    def nested_sequential(i):
        inner = keras.Sequential([L.LSTM(4, return_sequences=True), L.Dense(2)])
        return inner(L.Masking()(i.x))

    def squeeze(i):
        x = L.GlobalAveragePooling1D()(i.x)
        gate = L.Dense(3, activation="sigmoid")(L.Dense(2, activation="relu")(x))
        return L.Multiply()([i.x, L.Reshape((1, 3))(gate)])

    def decoder(i):
        encoded = L.Bidirectional(L.GRU(4))(L.Embedding(VOCABULARY, 3, mask_zero=True)(i.tokens))
        return L.TimeDistributed(L.Dense(3))(L.LSTM(4, return_sequences=True)(
            L.RepeatVector(3)(encoded)))  # fmt: skip

    found |= {
        "twice": twice,
        "twice-with-one-mask": twice_with_one_mask,
        "residual": residual,
        "nested": nested,
        "nested-sequential": nested_sequential,
        "squeeze": squeeze,
        "decoder": decoder,
    }
    for name in [name for name in found if name.startswith(_LENGTHS)]:
        found[f"{name}-then-GRU"] = lambda i, name=name: L.GRU(2)(found[name](i))
    parts = (features_attention, features_frames, features_operations)
    return found | {name: made for part in parts for name, made in part.features(keras).items()}
