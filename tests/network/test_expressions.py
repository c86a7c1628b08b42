"""The table of operations: what each target computes on numbers of every size."""

import numpy as np
import pytest

from ckptconv.codegen.cells import mindspore_functions as ms_cells
from ckptconv.codegen.cells import torch_functions as torch_cells
from ckptconv.codegen.emit.expressions import FUNCTIONS

SIZES = np.logspace(-3, 3.6, 34)
X = np.concatenate([-SIZES[::-1], [0], SIZES]).astype(np.float32)
OWN = {"tanh": 1.1e-4, "tanh_shrink": 1.1e-4, "exp": 3e-5}
"""MindSpore's own arithmetic on a CPU: its tanh is worst near 5."""
OF_AN_AXIS = {"softmax", "log_softmax"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - OF_AN_AXIS))
def test_functions_agree_on_numbers_of_every_size(name):
    import mindspore as ms
    import torch

    one, other = FUNCTIONS[name]
    wanted = eval(one, vars(torch_cells))(torch.from_numpy(X)).numpy()
    found = eval(other, vars(ms_cells))(ms.Tensor(X)).asnumpy()
    known = np.isfinite(wanted)
    assert X[known != np.isfinite(found)].size == 0
    gap = np.abs(found.astype("f8") - wanted)[known] / np.maximum(1, np.abs(wanted[known]))
    assert gap.max() <= OWN.get(name, 2e-6), X[known][gap.argmax()]
