"""One function of a written network exchanged for one like it: what does the proof notice?

Such functions agree near zero, or up to their bend, or where nothing overflows; each stands between
two layers, whose outputs an input must drive there.
"""

from __future__ import annotations

import pytest

import ckptconv
from ckptconv import networks
from ckptconv.verification.frameworks.written import Program, read
from ckptconv.verification.network.prove import compare, target_runner
from ckptconv.verification.network.source import Source

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
nn = torch.nn
F = "nn.functional."
SWAPS = [
    # name, between layers, as it is written, what it is exchanged for
    ("relu", nn.ReLU(), "torch.relu(",
     [F + "relu6(", F + "softplus(", F + "leaky_relu(", F + "silu(", F + "gelu("]),
    ("relu6", nn.ReLU6(), ", 0.0, 6.0)", [", 0.0)", ", 0.0, 6.5)", ", -0.01, 6.0)"]),
    ("hardtanh", nn.Hardtanh(), ", -1.0, 1.0)", [", -1.1, 1.0)", ", -1.0, 3.0)", ", -1.0)"]),
    ("clip", nn.Hardtanh(0, 20), ", 0, 20)", [", 0)", ", 0, 24)", ", 0, 6)"]),
    ("hardsigmoid", nn.Hardsigmoid(), F + "hardsigmoid(",
     ["torch.sigmoid(", "(lambda x: torch.clamp(x / 5 + 0.5, 0, 1))(", "(lambda x: x / 6 + 0.5)("]),
    ("hardswish", nn.Hardswish(), F + "hardswish(", [F + "silu(", "(lambda x: x * (x + 3) / 6)("]),
    ("leaky", nn.LeakyReLU(0.01), ", 0.01)", [", 0.02)", ", 0.0101)", ", 0.0)"]),
    ("elu", nn.ELU(), F + "elu(",
     ["(lambda x, _: torch.selu(x))(", "(lambda x, _: torch.relu(x))("]),
    ("alpha", nn.ELU(0.7), ", 0.7)", [", 1.0)", ", 0.71)"]),
    ("selu", nn.SELU(), "torch.selu(", [F + "elu(", "1.0507 * " + F + "elu("]),
    ("gelu", nn.GELU(), F + "gelu(", [F + 'gelu(approximate="tanh", input=', F + "silu("]),
    ("gelu_tanh", nn.GELU(approximate="tanh"), ', approximate="tanh")', [")"]),
    ("softplus", nn.Softplus(), F + "softplus(",
     [F + "softplus(threshold=2, input=", "torch.relu(", "(lambda x: (1 + x.exp()).log())("]),
    ("silu", nn.SiLU(), F + "silu(", [F + "hardswish(", F + "mish("]),
    ("mish", nn.Mish(), F + "mish(", [F + "silu(", F + "softplus("]),
    ("logsigmoid", nn.LogSigmoid(), F + "logsigmoid(", ["(lambda x: torch.sigmoid(x).log())("]),
    ("sigmoid", nn.Sigmoid(), "torch.sigmoid(", [F + "hardsigmoid(", "0.5 + 0.25 * torch.tanh("]),
    ("tanh", nn.Tanh(), "torch.tanh(", [F + "hardtanh(", F + "softsign(", "torch.erf("]),
    ("softmax", nn.Softmax(-1), ", dim=2)", [", dim=1)", ", dim=0)"]),
    ("layernorm", nn.LayerNorm(6), "eps=1e-05)", ["eps=1e-06)", "eps=1.1e-05)", "eps=0.001)"]),
    ("batchnorm", nn.BatchNorm1d(5), "eps=1e-05,", ["eps=1e-07,", "eps=0.001,"]),
    ("rmsnorm", nn.RMSNorm(6, eps=1e-6), "eps=1e-06)", ["eps=1e-07)", "eps=1e-05)"]),
    ("groupnorm", nn.GroupNorm(5, 5), "eps=1e-05)", ["eps=1e-06)", "eps=0.001)"]),
]  # fmt: skip


class Branches(nn.Module):
    """Every function between two layers of its own; pooling, and a padded convolution."""

    def __init__(self):
        super().__init__()
        made = {name: [nn.Linear(6, 6), act, nn.Linear(6, 3)] for name, act, *_ in SWAPS}
        self.b = nn.ModuleDict({name: nn.Sequential(*layers) for name, layers in made.items()})
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x, image):
        outputs = [branch(x) for branch in self.b.values()]
        pooled = nn.functional.avg_pool2d(self.conv(image), 2)
        return (*outputs, pooled, nn.functional.max_pool2d(image, 3, 2))


LAYERS = [
    ("self.conv = ", "padding=1)",
     ['padding=1, padding_mode="reflect")', 'padding=1, padding_mode="circular")']),
    ("self.conv(", F + "avg_pool2d(", [F + "max_pool2d(",
     "(lambda *a: nn.functional.avg_pool2d(*a, ceil_mode=True))("]),
    ("max_pool2d(", F + "max_pool2d(", [F + "avg_pool2d(",
     "(lambda *a: nn.functional.max_pool2d(*a, padding=1)[..., :3, :3])("]),
]  # fmt: skip
EXCHANGES = [
    (f"b_{name}.layer1 = " if "eps=" in old else f"self.b.{name}.layer0(", old, new)
    for name, _, old, others in SWAPS
    for new in others
] + [(place, old, new) for place, old, others in LAYERS for new in others]


@pytest.fixture(scope="module")
def proof(tmp_path_factory):
    """Return the written network, its weights, and what the source makes of every magnitude."""
    folder = tmp_path_factory.mktemp("swaps")
    torch.manual_seed(3)
    given = torch.randn(3, 5, 6), torch.randn(3, 2, 7, 7)
    free = {0: torch.export.Dim("batch", min=2, max=64)}
    program = torch.export.export(Branches().eval(), given, dynamic_shapes=(free, free))
    torch.export.save(program, folder / "m.pt2")
    net, weights = folder / "net.py", folder / "m.pt"
    ckptconv.convert(folder / "m.pt2", weights, to="torch", network=net)
    source = Source(*networks.read(folder / "m.pt2", ckptconv.ReadOptions()), beside=False)
    answers = source.answers(0)
    return read(net), str(weights), answers, source.allowed(answers, "torch")


def noticed(proof, text):
    """Return the magnitudes of the inputs on which a text is another network."""
    program, weights, answers, limits = proof
    found = compare(
        target_runner("torch", "CPU"),
        Program(program.path, text.encode()),
        weights,
        answers,
        limits,
    )
    assert found.runs or "another shape" in found.cause, found.cause
    if not found.runs:
        return {1.0}
    return {answers.cases[one.case].magnitude for one in found.runs if not one.run.ok}


def test_every_exchange_is_noticed(proof):
    text = proof[0].text.decode()
    assert noticed(proof, text) == set()
    found = {}
    for place, old, new in EXCHANGES:
        at = text.index(old, text.rindex("\n", 0, text.index(place)))
        found[place, old, new] = noticed(proof, text[:at] + new + text[at + len(old) :])
    assert [swap for swap, magnitudes in found.items() if not magnitudes] == []
