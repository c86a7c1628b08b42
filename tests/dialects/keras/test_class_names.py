"""Groups of ``.weights.h5`` are called as the class is, which Keras may export otherwise."""

from __future__ import annotations

from ckptconv.dialects.keras.model_config import Entry


def test_every_layer_of_keras():
    import keras
    from keras.src.api_export import get_name_from_symbol
    from keras.src.utils.naming import to_snake_case

    every = [value for value in vars(keras.layers).values() if isinstance(value, type)]
    exported = {c: name.rpartition(".")[2] for c in every if (name := get_name_from_symbol(c))}
    assert len(exported) > 100
    found = {c: Entry(name, {}).snake for c, name in exported.items()}
    assert found == {c: to_snake_case(c.__name__) for c in exported}
