"""Which layers of tf.keras hand a mask on: ``python make_tf_masks.py OUTDIR``.

Python 3.11: tensorflow-cpu==2.15.1.
"""

import sys
from pathlib import Path

import golden as g
import keras
import numpy as np
from keras import layers

LAYERS = (
    layers.Rescaling(0.5),
    layers.Normalization(mean=0.1, variance=2.0),
    layers.Identity(),
    layers.LayerNormalization(),
    layers.BatchNormalization(),
    layers.ThresholdedReLU(0.1),
    layers.ActivityRegularization(),
    layers.SpatialDropout1D(0.3),
    layers.UnitNormalization(),
)


def main(folder):
    x = keras.Input((g.STEPS, 3))
    masked = layers.Masking()(x)
    seen = [layer(masked) for layer in LAYERS]
    seen += [layers.Add()([masked, x]), layers.Multiply()([x, masked])]
    seen += [layers.Concatenate()([masked, layers.Masking(0.5)(x)])]
    seen += [layers.Bidirectional(layers.GRU(2, return_sequences=True))(masked)]
    model = g.fill(keras.Model(x, [layers.GRU(2)(value) for value in seen]))
    given = g.floats(g.STEPS, 3)
    given[0, 1] = given[1, -2:] = 0
    given[0, 3] = given[1, 0] = 0.5
    stem = Path(folder) / "tf215_masks_full"
    model.save(stem.with_suffix(".h5"))
    found = model.predict(given, verbose=0)
    np.savez(stem.with_suffix(".npz"), x=given, **{f"y{i:02}": y for i, y in enumerate(found)})


if __name__ == "__main__":
    main(sys.argv[1])
