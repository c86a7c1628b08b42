"""The order of layers, by which Keras loads them, of a network that was made in another one."""

from __future__ import annotations

import numpy as np
import pytest

import ckptconv
from tests.networks import fill


def _network():
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.decoder = torch.nn.LSTM(4, 4, batch_first=True)
            self.encoder = torch.nn.LSTM(4, 4, batch_first=True)
            self.fc = torch.nn.ModuleList([torch.nn.Linear(4, 4) for _ in range(2)])

        def forward(self, x):
            x = self.decoder(self.encoder(x)[0])[0]
            return self.fc[1](self.fc[0](x))

    return fill(Network())


def _model():
    import keras

    layers = keras.layers
    recurrent = [layers.LSTM(4, return_sequences=True, name=n) for n in ("encoder", "decoder")]
    dense = [layers.Dense(4, name=f"fc_{n}") for n in range(2)]
    return keras.Sequential([keras.Input((3, 4)), *recurrent, *dense])


def _saved(tmp_path, network):
    """Return a file of a network, inputs, and what torch computes of them."""
    import torch

    torch.save(network.state_dict(), tmp_path / "m.pt")
    x = np.random.default_rng(2).normal(size=(2, 3, 4)).astype("f4")
    with torch.no_grad():
        return tmp_path / "m.pt", x, network(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_layers_that_keras_would_load_for_one_another_are_named(tmp_path, suffix):
    source, x, expected = _saved(tmp_path, _network())
    written, like = tmp_path / f"o{suffix}", tmp_path / f"like{suffix}"
    report = ckptconv.convert(source, written, to="keras")
    (note,) = report.notes  # fc.0 and fc.1 are told by their places
    assert note.startswith("decoder, encoder: alike, and the file, which has layers as they were")
    model = _model()
    model.load_weights(written)
    assert np.abs(model.predict(x, verbose=0) - expected).max() > 1e-3  # what the note is for
    model.save(like) if suffix == ".h5" else model.save_weights(like)
    report = ckptconv.convert(source, written, to="keras", like=like, force=True)
    assert not any("alike" in note for note in report.notes)
    model.load_weights(written)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=2e-6)


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_numbered_branches_that_keras_would_load_for_one_another_are_named(tmp_path, suffix):
    import keras
    import torch

    parts = {f"embed{n}": torch.nn.Embedding(9, 4) for n in (1, 2)}
    network = fill(torch.nn.ModuleDict({**parts, "rnn": torch.nn.GRU(4, 4, batch_first=True)}))
    torch.save(network.state_dict(), tmp_path / "m.pt")
    kinds = {"embed*": "Embedding"}
    report = ckptconv.convert(tmp_path / "m.pt", tmp_path / f"o{suffix}", to="keras", kinds=kinds)
    (note,) = report.notes
    assert note.startswith("embed1, embed2: alike")
    layers, tokens = keras.layers, keras.Input((3,), dtype="int32")
    first, second = (layers.Embedding(9, 4, name=name)(tokens) for name in parts)
    second = layers.GRU(4, return_sequences=True, name="rnn")(second)
    model = keras.Model(tokens, layers.Add()([first, second]))  # whose deepest branch is first
    model.load_weights(tmp_path / f"o{suffix}")
    swapped = parts["embed2"].weight.detach().numpy()  # what the note is for
    np.testing.assert_array_equal(model.get_layer("embed1").get_weights()[0], swapped)


def test_parameters_without_a_layer_of_keras_are_noted_with_what_loads_the_others(tmp_path):
    import torch

    network = _network()
    network.transitions = torch.nn.Parameter(torch.arange(9.0).reshape(3, 3))
    source, x, expected = _saved(tmp_path, network)
    report = ckptconv.convert(source, tmp_path / "o.h5", to="keras")
    assert "transitions: Keras has no layer for it" in report.notes[-1]
    model = _model()
    with pytest.raises(ValueError, match="mismatch"):
        model.load_weights(tmp_path / "o.h5")
    assert "by_name=True" in report.notes[-1]
    model.load_weights(tmp_path / "o.h5", by_name=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=2e-6)
