"""Features of what Keras 3 records between layers: operations, which hand no mask on."""

from __future__ import annotations


def features(keras):
    """Return name → function of ``features.Inputs`` that gives a value or a list of them."""
    L, ops = keras.layers, keras.ops  # noqa: N806

    def after(change):
        return lambda i: L.LSTM(3)(change(L.Masking()(i.x), i.z))

    return {
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
    ops = keras.ops
    return {
        "bound": (lambda x: ops.max(x, axis=1, initial=0.5), "initial=0.5"),
        "number": (lambda x: ops.maximum(x, 0.3), "maximum of a value and a number"),
        "dtype": (lambda x: ops.convert_to_tensor(x, dtype="float16"), "a conversion to float16"),
    }
