"""The table of MindSpore's optimizers: the parameters that each keeps beside the network's.

Source: ``mindspore.nn``, ``mint.optim`` and ``experimental.optim`` of MindSpore 2.10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ckptconv.dialects.mindspore.named_shapes import Shape


@dataclass(frozen=True)
class Optimizer:
    """The parameters that an optimizer adds: ``slots`` are prefixes of the trained one's name.

    Attributes:
        slots: each mirrors every parameter that is trained; those in ``optional`` may be missing.
        scalars: of the optimizer as a whole, beside those of its base class.
        counters: what its step counter is called: in ``nn``, or in ``mint`` and ``experimental``.
    """

    about: str
    slots: tuple[str, ...]
    optional: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    counters: tuple[str, ...] = ("global_step",)


_STEP = ("state_step", "step_t")
_BOTH = ("global_step", *_STEP)
_POWERS = ("beta1_power", "beta2_power")
_ALONE = (
    Optimizer("Adam", ("moment1.", "moment2."), ("vhat.",), _POWERS),
    Optimizer("AdamWeightDecay", ("adam_m.", "adam_v.")),
    Optimizer("Lamb", ("lamb_m.", "lamb_v.")),
    Optimizer("AdamW", ("exp_avg.", "exp_avg_sq."), ("max_exp_avg_sq.",), (), _STEP),
    Optimizer("Adamax", ("exp_avg.", "exp_inf."), (), (), _STEP),
    Optimizer(
        "AdaFactor",
        ("exp_avg_sq_row_", "exp_avg_sq_col_", "exp_avg_sq_"),
        ("exp_avg.",),
        ("afactor_step", "step"),
    ),
    Optimizer("SGD", ("accum.", "stat."), (), ("momentum",)),
    Optimizer("Adadelta", ("accum.", "accum_update.")),
    Optimizer("RMSProp", ("mean_square.", "moment."), ("mean_grad.",)),
    Optimizer("Rprop", ("prev.", "step_size."), (), (), _BOTH),
    Optimizer("FTRL", ("moments.", "linear.")),
    Optimizer("ASGD", ("ax_.", "mu_", "eta_")),
    Optimizer("Momentum", ("moments.",), (), ("momentum",)),
    Optimizer("Adagrad", ("accum.",), (), (), _BOTH),
    Optimizer("SGD of mint", ("momentum_buf.",), (), (), _STEP),
    Optimizer("ASGD of experimental", ("ax.",), (), (), _STEP),
)
LARS = "opt."
"""What ``nn.LARS`` calls the optimizer that it holds; inside a Cell it stands in that one's names,
while the step counter stays the one of LARS."""
OPTIMIZERS = (
    *_ALONE,
    *(
        Optimizer(
            f"{row.about} in LARS",
            tuple(LARS + slot for slot in row.slots),
            tuple(LARS + slot for slot in row.optional),
            tuple(LARS + scalar for scalar in row.scalars),
        )
        for row in _ALONE
        if "global_step" in row.counters
    ),
)
"""Tried in this order where several fit equally well."""

_SHAPES: Mapping[str, Callable[[Shape], tuple[Shape, ...]]] = {
    # slot → the shapes that it may have for a parameter of this shape; the same where not said
    "mu_": lambda _: ((),),
    "eta_": lambda _: ((),),
    "exp_avg_sq_row_": lambda shape: (shape[:-1], (1,)),
    "exp_avg_sq_col_": lambda shape: (shape[:-2] + shape[-1:], (1,)),
    "exp_avg_sq_": lambda shape: (shape, (1,)),
}


def shapes_of(slot: str, shape: Shape) -> tuple[Shape, ...]:
    """Return the shapes that a slot may have for a parameter of this shape."""
    own = slot.removeprefix(LARS)
    return _SHAPES[own](shape) if own in _SHAPES else (shape,)
