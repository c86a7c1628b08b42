"""What a MindSpore training checkpoint holds beside the network's parameters.

Names as MindSpore's optimizers and callbacks give them.
"""

from __future__ import annotations

from collections.abc import Iterable

_SCALARS = frozenset(
    [
        "global_step",
        "learning_rate",
        "beta1_power",
        "beta2_power",
        "momentum",
        "state_step",
        "epoch_num",
        "step_num",
        "weight_decay",
        "scale_sense",
        "current_iterator_step",
        "last_overflow_iterator_step",
    ]
)
_PREFIXES = (
    "moment1",
    "moment2",
    "adam_m",
    "adam_v",
    "moments",
    "moment",
    "accum",
    "stat",
    "mean_square",
    "exp_avg",
    "exp_avg_sq",
    "max_exp_avg_sq",
    "state_step",
    "linear",
    "vhat",
)


def training_state(names: Iterable[str]) -> dict[str, str]:
    """Return name → rule for what training needs and inference does not.

    A prefixed name (``moment1.lstm.weight_ih_l0``) counts only where the parameter it belongs to
    stands in the file too, so that a module called ``stat`` is not lost.
    """
    known = set(names)
    rules: dict[str, str] = {}
    for name in known:
        prefix, _, parameter = name.partition(".")
        if name in _SCALARS:
            rules[name] = f"training state: {name}"
        elif prefix in _PREFIXES and parameter in known:
            rules[name] = f"training state: {prefix} of the optimizer"
    return rules
