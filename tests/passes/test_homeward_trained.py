"""--restore of files that Keras, or a format that sorts names, has saved again in between."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import ckptconv
from tests import networks as n


def converted(folder, source, target, to, **options):
    """Convert, and keep the report beside the target."""
    report = ckptconv.convert(folder / source, folder / target, to=to, **options)
    (folder / f"{target}.json").write_text(json.dumps(report.to_dict()))
    return folder / f"{target}.json"


def test_layers_that_a_format_has_sorted_are_not_taken_for_one_another(tmp_path):
    parts = {"b": nn.Linear(3, 3), "rnn": nn.LSTM(3, 3, 2), "a": nn.Linear(3, 3)}
    network = n.fill(nn.ModuleDict(parts)).state_dict()
    torch.save(network, tmp_path / "m.pt")
    first = converted(tmp_path, "m.pt", "k.weights.h5", "keras", rename=[("^", "net.")])
    second = converted(
        tmp_path, "k.weights.h5", "m.safetensors", "mindspore", rename=[("^", "more_")]
    )
    ckptconv.convert(
        tmp_path / "m.safetensors", tmp_path / "h.weights.h5", to="keras", restore=second
    )
    ckptconv.convert(tmp_path / "h.weights.h5", tmp_path / "h.pt", to="torch", restore=first)
    again = torch.load(tmp_path / "h.pt", weights_only=True)
    assert list(again) == list(network)
    assert all(torch.equal(value, again[name]) for name, value in network.items())
    # without the report the layers are in another order, and have other numbers
    ckptconv.convert(
        tmp_path / "m.safetensors", tmp_path / "o.weights.h5", to="keras", rename=[("more_", "")]
    )
    ckptconv.convert(tmp_path / "o.weights.h5", tmp_path / "o.pt", to="torch", restore=first)
    again = torch.load(tmp_path / "o.pt", weights_only=True)
    assert all(torch.equal(value, again[name]) for name, value in network.items())


LAYOUTS = [".weights.h5", ".h5", ".keras"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder of files that Keras has trained: each weight is twice what it was."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("trained")
    parts = {"words": nn.Embedding(9, 4), "rnn": nn.LSTM(4, 5, 2, bidirectional=True)}
    parts |= {"out": nn.Linear(10, 3), "head": nn.Linear(3, 3), "back": nn.Linear(3, 3)}
    network = n.fill(nn.ModuleDict(parts)).state_dict()
    torch.save(network, folder / "m.pt")

    def rnn(name):
        return layers.Bidirectional(layers.LSTM(5, return_sequences=True), name=name)

    for first in LAYOUTS[:2]:
        converted(folder, "m.pt", f"m{first}", "keras", kinds={"words": "Embedding"})
        for named in (True, False):
            names = ["words", "rnn_l0", "rnn_l1", "out", "head", "back"] if named else [None] * 6
            model = keras.Sequential(
                [
                    keras.Input((7,)),
                    layers.Embedding(9, 4, name=names[0]),
                    *map(rnn, names[1:3]),
                    *(layers.Dense(3, name=name) for name in names[3:]),
                ]
            )
            model.load_weights(folder / f"m{first}")
            model.set_weights([weight * 2 for weight in model.get_weights()])
            for then in LAYOUTS:
                model.save(folder / f"{first[1]}{named}{then}") if then != LAYOUTS[0] else (
                    model.save_weights(folder / f"{first[1]}{named}{then}")
                )
    return folder, network


@pytest.mark.parametrize("first", LAYOUTS[:2])
@pytest.mark.parametrize("then", LAYOUTS)
def test_what_keras_has_trained_comes_home_from_each_layout(trained, tmp_path, first, then):
    folder, network = trained
    report = ckptconv.convert(
        folder / f"{first[1]}True{then}",
        tmp_path / "home.pt",
        to="torch",
        restore=folder / f"m{first}.json",
    )
    again = torch.load(tmp_path / "home.pt", weights_only=True)
    assert list(again) == list(network)
    sums = {name: name.replace("_ih_", "_hh_") for name in network if "bias_ih" in name}
    for name, value in network.items():
        if name in sums:
            assert torch.equal(again[name] + again[sums[name]], 2 * (value + network[sums[name]]))
        elif name not in sums.values():
            assert torch.equal(again[name], 2 * value), name
    assert any("not undone: sum of the two biases" in note for note in report.notes)


@pytest.mark.parametrize(("first", "then"), [(".h5", ".keras"), (".weights.h5", ".h5")])
def test_layers_that_were_given_no_names_are_not_guessed(trained, first, then):
    folder, _ = trained
    with pytest.raises(ckptconv.CkptconvError, match=r"of another file.*like='TARGET'"):
        ckptconv.load(folder / f"{first[1]}False{then}", restore=folder / f"m{first}.json")
