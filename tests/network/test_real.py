"""Files that nobody here wrote: their networks against what tf_keras computes of them.

``golden/keras/make_real.py`` made the outputs.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.network.written import check_text, close, flat, run_torch, written

GOLDEN = ROOT / "tests" / "golden" / "keras" / "real_networks.npz"
with np.load(GOLDEN) as known:
    NAMES = sorted({key.partition("/")[0] for key in known.files})
SEVERAL = ("dl4j__lstm_theano_1", "dl4j__tfkeras_rnn_101")


def golden(name):
    with np.load(GOLDEN) as data:
        return data[f"{name}/x"], data[f"{name}/y"]


@pytest.mark.parametrize("name", NAMES)
def test_real_file(name, real, tmp_path):
    x, y = golden(name)
    module, weights, _ = written(real / "keras" / f"{name}.h5", "torch", tmp_path)
    close(run_torch(module, weights, [x]), [y], 2e-6 * np.abs(y).max())
    text = weights.with_suffix(".py").read_text()
    assert re.search(r"ckptconv \d.* from a file (of Keras \d|that names no version)", text)
    written(real / "keras" / f"{name}.h5", "mindspore", tmp_path)
    check_text(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_in_mindspore(name, real, tmp_path):
    in_mindspore(name, real, tmp_path)


@pytest.mark.parametrize("name", SEVERAL)
def test_a_few_in_mindspore(name, real, tmp_path):
    in_mindspore(name, real, tmp_path)


def in_mindspore(name, real, folder):
    import mindspore as ms

    x, y = golden(name)
    module, weights, _ = written(real / "keras" / f"{name}.h5", "mindspore", folder)
    network = module.load(str(weights))
    module.export(str(weights), str(folder / "m.mindir"))
    mindir = module.open_mindir(str(folder / "m.mindir"))
    peak = np.abs(y).max()
    for batch in (3, 2):
        given = ms.Tensor(x[:batch])
        found = [value.asnumpy() for value in flat(network(given))]
        close(found, [y[:batch]], 5e-5 * peak)
        close([value.asnumpy() for value in flat(mindir(given))], found, 1e-6 * peak)
