"""Third-party torch files, bit by bit as torch itself loads them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from ckptconv.formats import read
from tests.torch_samples import assert_same


class _Stub:
    """Stands for any class that is not installed."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.items: list[Any] = []

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items.append((key, value))

    def append(self, item: Any) -> None:
        self.items.append(item)


class _Pickle:
    """A pickle module whose unpickler imports torch and plain containers, and stubs the rest."""

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            plain = module in ("collections", "torch._utils", "torch", "torch.storage")
            return super().find_class(module, name) if plain else _Stub

    load = staticmethod(pickle.load)


def loaded(path: Path) -> Any:
    if path.suffix == ".jit":
        return torch.jit.load(path, map_location="cpu").state_dict()
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Pickle)


FILES = [
    "OpenNMT-py__2017_test_model2_sgd.pt",
    "allennlp-models__2018_event2mind.th",
    "allennlp-models__generation_copynet_best.th",
    "allennlp-models__pair_classification_esim_best.th",
    "silero-vad__v4_silero_vad.jit",
]


@pytest.mark.parametrize("name", FILES)
def test_tensors_are_what_torch_loads(real: Path, name: str) -> None:
    several = "OpenNMT" in name
    checkpoint = read(real / "torch" / name, select="model" if several else None)
    expected = loaded(real / "torch" / name)
    if several:
        parts = {part: expected[part] for part in ("model", "generator")}
        whole = {f"{part}.{n}": tensor for part in parts for n, tensor in parts[part].items()}
        assert_same(read(real / "torch" / name).tensors, whole)
        assert checkpoint.omitted == {
            "generator": "beside the selected weights: 2 tensors",
            "vocab": "beside the selected weights: list",
            "opt": "beside the selected weights: argparse.Namespace",
            "epoch": "beside the selected weights: 13",
            "optim": "beside the selected weights: 28 tensors",
        }
        assert_same(read(real / "torch" / name, select="generator").tensors, expected["generator"])
        expected = expected["model"]
    assert_same(checkpoint.tensors, expected)


def test_no_file_is_forgotten(real: Path) -> None:
    assert sorted(path.name for path in (real / "torch").iterdir()) == FILES


def test_hyper_parameters_of_a_torchscript_file(real: Path) -> None:
    modules = read(real / "torch" / FILES[-1]).modules
    rnn = next(module for module in modules.values() if module.class_name == "LSTM")
    wanted = {"num_layers": 2, "batch_first": True, "hidden_size": 64, "bidirectional": False}
    assert wanted.items() <= dict(rnn.attributes).items()
