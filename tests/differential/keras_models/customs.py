"""Classes and functions of a user's own, many of them called as Keras calls its own.

Registered under the package ``own``, so that files hold them by ``own>Dense`` and the like.
"""

from __future__ import annotations

import keras
from keras import layers, ops

register = keras.saving.register_keras_serializable(package="own")


@register
def tanh(x):
    """Not Keras's tanh."""
    return ops.tanh(x) * 0.5 + 0.1


@register
class Dense(layers.Dense):
    """Twice a Dense."""

    def call(self, inputs, training=None):
        return super().call(inputs, training=training) * 2.0


@register
class LSTM(layers.LSTM):
    """An LSTM whose output is squared."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return super().call(sequences, initial_state, mask, training) ** 2


@register
class LayerNormalization(layers.Layer):
    """A scale and a shift without any normalisation."""

    def build(self, shape):
        self.gamma = self.add_weight(name="gamma", shape=(shape[-1],))
        self.beta = self.add_weight(name="beta", shape=(shape[-1],))

    def call(self, x):
        return x * self.gamma + self.beta


@register
class Scale(layers.Layer):
    """One vector, which looks like an RMSNormalization's."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(shape[-1],))

    def call(self, x):
        return x * self.scale


@register
class Block(layers.Layer):
    """A layer that holds layers of Keras's as attributes."""

    def __init__(self, units=2, activation="tanh", **kwargs):
        super().__init__(**kwargs)
        self.units, self.activation = units, activation
        self.lstm = layers.LSTM(units, activation=activation, return_sequences=True)
        self.head = layers.Dense(units + 1)

    def build(self, shape):
        self.lstm.build(shape)
        self.head.build((*shape[:-1], self.units))

    def call(self, x):
        return self.head(self.lstm(x))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "activation": self.activation}


@register
class Pair(layers.Layer):
    """Two layers under the attributes of a Bidirectional, which this is not."""

    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.forward_layer = layers.LSTM(units, return_sequences=True)
        self.backward_layer = layers.LSTM(units, return_sequences=True)

    def build(self, shape):
        self.forward_layer.build(shape)
        self.backward_layer.build(shape)

    def call(self, x):
        return self.forward_layer(x) - self.backward_layer(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


CLASSES = {
    f"own>{cls.__name__}": cls for cls in (Dense, LSTM, LayerNormalization, Scale, Block, Pair)
}
