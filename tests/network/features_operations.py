"""Features of what Keras 3 records between layers: operations, which hand no mask on."""

from __future__ import annotations

import numpy as np


def features(keras):
    """Return name → function of ``features.Inputs`` that gives a value or a list of them."""
    L, ops = keras.layers, keras.ops  # noqa: N806

    def after(change):
        return lambda i: L.LSTM(3)(change(L.Masking()(i.x), i.z))

    def shapes(i):
        return [
            *(ops.stack([i.x, i.z], axis=1), ops.stack([i.x, i.z], axis=-1)),
            *(ops.squeeze(i.x[:, :1], 1), ops.squeeze(i.x[:, :, 1:2], -1)),
            *(ops.reshape(i.x, (-1, 18)), ops.reshape(i.image, (-1, 6, 14))),
            *(ops.swapaxes(i.x, 1, 2), ops.swapaxes(i.image, -1, -3)),
            *(ops.flip(i.x, axis=1), ops.flip(i.image, axis=-1)),
            ops.pad(i.x, ((0, 0), (1, 2), (0, 3))),
        ]

    def choices(i):
        return [
            *(ops.where(i.x > 0, i.x, i.z), ops.where(i.x >= i.z, i.x, i.x * 0.1)),
            *(ops.where(i.x[:, :, :1] < 0.1, i.x, i.z), ops.where(i.x <= 0.2, i.z, i.x)),
            *(ops.clip(i.x, -0.2, 0.3), ops.min(i.x, axis=1), ops.min(i.image, axis=(1, 2))),
        ]

    def functions(i):
        names = ("silu", "softplus", "softsign", "relu6", "hard_sigmoid", "sin", "cos", "gelu")
        return [
            *(getattr(ops, name)(i.x * 4.0) for name in names),
            *(ops.gelu(i.x, approximate=False), ops.rsqrt(ops.square(i.x) + 1)),
            *(ops.softmax(i.x), ops.softmax(i.x, axis=1), ops.log_softmax(i.x, axis=-1)),
        ]

    def dtypes(i):
        """Whole numbers and bools are promoted as Keras does."""
        known, first = i.tokens > 2, i.x[:, :, 0]
        return [
            *(ops.mean(i.tokens, axis=1), ops.mean(known, axis=-1), ops.divide(i.tokens, 3)),
            *(ops.sigmoid(i.tokens), ops.tanh(known), ops.square(known), ops.clip(known, 0, 0.5)),
            *(ops.concatenate([i.tokens, first], axis=1), ops.stack([known, i.tokens], axis=1)),
            *(ops.subtract(first, known), ops.subtract(2, known), ops.sin(known * 0.5 - first)),
            *(L.Concatenate()([i.tokens, first]), L.Subtract()([first, i.tokens])),
            *(L.Dense(3)(i.tokens), L.BatchNormalization()(i.tokens), L.Rescaling(0.5)(i.tokens)),
        ]

    def numbers(i):
        """Numbers on either side, and what is known of whole numbers."""
        return [
            *(ops.maximum(i.x, 0.1), ops.minimum(0.3, i.x), ops.maximum(i.tokens, 2.5)),
            *(ops.where(i.x > 0, i.x, 0.5), ops.where(i.x > 0, 1, i.tokens[:, :, None])),
            *(ops.cast(ops.not_equal(i.tokens, 0), "float32"), ops.cast(i.x * 9, "int32")),
            *(ops.less(0.1, i.x), ops.logical_not(i.x > 0), ops.logical_and(i.tokens, i.x[..., 0])),
            *(ops.power(i.x, 3), ops.reciprocal(i.tokens + 1), ops.leaky_relu(i.x), ops.abs(i.x)),
            *(ops.elu(i.x, 0.7), ops.relu6(i.tokens), ops.floor(i.x * 3), ops.stop_gradient(i.x)),
        ]

    def along(i):
        """What is known of the numbers along axes."""
        return [
            *(ops.var(i.x, axis=1), ops.std(i.image, axis=(1, 2), keepdims=True)),
            *(ops.logsumexp(i.x, axis=-1), ops.cumsum(i.x, axis=1), ops.cumsum(i.tokens, axis=1)),
            *(ops.argmax(i.x, axis=-1), ops.argmin(i.x, axis=1, keepdims=True)),
            *(ops.normalize(i.x, axis=1), ops.normalize(i.x * 0.0, epsilon=0.5)),
            *(ops.any(i.x > 1, axis=1), ops.all(i.x < 1, axis=(1, 2)), ops.sum(i.tokens, axis=1)),
        ]

    def places(i):
        return [
            *(ops.moveaxis(i.image, -1, 1), ops.moveaxis(i.image, [1, 2], [-1, -2])),
            *(ops.tile(i.x, (1, 2, 3)), ops.tile(i.x, 2), ops.repeat(i.x > 0, 2, axis=1)),
            *ops.split(i.x, 3, axis=-1),
            *ops.split(i.x, [1, 3], axis=1),
            ops.one_hot(i.tokens, 12),
            ops.matmul(i.x, ops.transpose(i.z, (0, 2, 1))),
        ]

    def arrays(i):
        """What stands in the configuration: arrays of numpy and tensors, with and without axes."""
        row, table = np.array([0.4, -1.5, 2], "f4"), np.arange(18, dtype="f4").reshape(3, 6)
        return [
            *(
                i.x - row,
                ops.multiply(row, i.x),
                i.x / ops.convert_to_tensor(row + 10),
                i.x > row[:1],
            ),
            *(ops.matmul(i.x, table), ops.maximum(row, i.x), ops.where(row > 0, i.x, row)),
            *(i.tokens * np.array([2], "int32"), i.x + np.arange(6)[None, :, None]),
            L.Dense(2)((i.x - row.astype("f8")) / table[2:, 1:4]),
        ]

    return {
        "operation-arrays": arrays,
        "operation-dtypes": dtypes,
        "operation-numbers": numbers,
        "operation-along": along,
        "operation-places": places,
        "operation-shapes": shapes,
        "operation-choices": choices,
        "operation-functions": functions,
        "operation-pad-then-GRU": lambda i: L.GRU(2)(ops.pad(i.x, ((0, 0), (1, 1), (0, 0)))),
        "operation-sum-of-masked": after(lambda x, z: x + z),
        "operation-abs-of-masked": after(lambda x, _: ops.abs(x)),
        "operation-relu-of-masked": after(lambda x, _: ops.relu(x)),
        "operation-activation-of-masked": after(lambda x, _: keras.activations.relu(x)),
        "operation-cast-of-masked": after(lambda x, _: ops.cast(x, "float32")),
        "operation-all-of-masked": after(lambda x, _: x[:, :]),
        "operation-order-of-masked": after(lambda x, _: ops.transpose(x, (0, 1, 2))),
        "operation-same-as-masked": after(lambda x, _: ops.convert_to_tensor(x)),
        "layer-order-of-masked": after(lambda x, _: L.Permute((1, 2))(x)),
        "layer-times-one-of-masked": after(lambda x, _: L.UpSampling1D(1)(x)),
        "called-by-name": lambda i: L.Bidirectional(L.GRU(3))(
            sequences=L.TimeDistributed(L.Dense(2))(inputs=ops.subtract(x2=i.x, x1=i.z))
        ),
        "operation-new-axis": lambda i: L.Dense(2)(L.Dense(4)(i.v)[:, None]),
        "operation-new-axes": lambda i: L.Dense(2)(i.x[:, None, 1:, None, :2]),
    }


def refused(keras):
    """Return name → (function of a value, what it is refused for)."""
    ops, layers = keras.ops, keras.layers
    one, other = layers.GRU(1), layers.GRU(3, go_backwards=True)
    return {
        "halves": (
            layers.Bidirectional(one, merge_mode="sum", backward_layer=other),
            "merge_mode sum of halves of 1 and 3 units",
        ),
        "bound": (lambda x: ops.max(x, axis=1, initial=0.5), "initial=0.5"),
        "number": (lambda x: ops.power(0.3, x), "a power that is no number"),
        "negative": (lambda x: ops.power(ops.cast(x, "int32"), -2), "a negative power"),
        "order": (lambda x: ops.normalize(x, order=3), "order=3"),
        "bools": (lambda x: ops.max(x > 0, axis=1), "an extreme of bools"),
        "places": (lambda x: ops.argmax(ops.cast(x, "int32"), axis=1), "of whole numbers"),
        "parts": (lambda x: ops.tile(x, (2, 1, 1)), "repeating the batch"),
        "batch": (lambda x: ops.reshape(x, (15,)), "a shape that does not keep the batch"),
        "axis": (lambda x: ops.flip(x, axis=0), "the batch's"),
        "border": (
            lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=2),
            "else than zeros",
        ),
        "batch array": (lambda x: x + np.ones((2, 1, 1), "f4"), "an array along the batch"),
        "large array": (lambda x: ops.matmul(x, np.ones((3, 400), "f4")), "more than 1024 numbers"),
        "half array": (lambda x: x + np.ones(3, "f2"), "an array of float16"),
        "one number": (lambda x: x + ops.convert_to_tensor(np.float64(2)), "that is one number"),
        "whole array": (lambda x: ops.cast(x, "int32") + np.arange(3), "an array of int64"),
        "choice": (lambda x: ops.where(x > 0, 1.0, 0.5), "two numbers to choose"),
        "dtype": (lambda x: ops.convert_to_tensor(x, dtype="float16"), "a conversion to float16"),
    }
