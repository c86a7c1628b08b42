"""Features of what Keras 3 records between layers: operations, which hand no mask on."""

from __future__ import annotations


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

    return {
        "operation-dtypes": dtypes,
        "operation-shapes": shapes,
        "operation-choices": choices,
        "operation-functions": functions,
        "operation-pad-then-GRU": lambda i: L.GRU(2)(ops.pad(i.x, ((0, 0), (1, 1), (0, 0)))),
        "operation-sum-of-masked": after(lambda x, z: x + z),
        "operation-abs-of-masked": after(lambda x, _: ops.abs(x)),
        "operation-relu-of-masked": after(lambda x, _: ops.relu(x)),
        "operation-all-of-masked": after(lambda x, _: x[:, :]),
        "operation-order-of-masked": after(lambda x, _: ops.transpose(x, (0, 1, 2))),
        "operation-same-as-masked": after(lambda x, _: ops.convert_to_tensor(x)),
        "layer-order-of-masked": after(lambda x, _: L.Permute((1, 2))(x)),
        "layer-times-one-of-masked": after(lambda x, _: L.UpSampling1D(1)(x)),
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
        "number": (lambda x: ops.maximum(x, 0.3), "maximum of a value and a number"),
        "batch": (lambda x: ops.reshape(x, (15,)), "a shape that does not keep the batch"),
        "axis": (lambda x: ops.flip(x, axis=0), "the batch's"),
        "border": (
            lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=2),
            "else than zeros",
        ),
        "choice": (lambda x: ops.where(x > 0, x, 0.5), "numbers to choose"),
        "dtype": (lambda x: ops.convert_to_tensor(x, dtype="float16"), "a conversion to float16"),
    }
