"""The rules of pairing, on shapes alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptconv.errors import DialectError
from ckptconv.passes.match.engine import match
from ckptconv.passes.match.structure import Module, Param
from ckptconv.passes.match.words import dictionary


def modules(paths):
    """Return modules of (path, size) pairs: equal sizes are equal structures."""
    return [Module(path, (structure(size),)) for path, size in paths]


def structure(size):
    return frozenset([Param("weight", (size, 3)), Param("bias", (size,))])


def same(*paths):
    return [(path, 1) for path in paths]


def pairs(entries):
    return {entry.source: entry.target for entry in entries}


CROSSING = {
    "a gap closed": ("0 2 4", "0 1 2"),
    "a shift": ("rnn1 rnn2", "rnn0 rnn1"),
    "a number more": ("bn bn2", "bn1 bn2"),
    "one renamed": ("a b c", "a b d"),
    "one renamed by a word": ("enc rnn", "rnn dec"),
    "two words at once": ("left right", "l r"),
    "numbers moved by one": ("rnn1 rnn2 rnn3", "lstm0 lstm1 lstm2"),
    "a prefix over one's own name": ("enc.fc enc.enc.fc", "enc.fc fc"),
    "words that changed once": ("fc out2", "head proj2"),
}


@pytest.mark.parametrize(("source", "target"), CROSSING.values(), ids=CROSSING)
def test_names_that_cross_force_nothing(source, target):
    source, target = source.split(), target.split()
    plan = match(modules(same(*source)), modules(same(*target)))
    assert not plan.forced
    assert pairs(plan.proposed) == dict(zip(source, target, strict=True))


COMMON = {
    "prefix of the source": ("module.a module.b", "a b"),
    "prefix of the target": ("a b", "_backbone.a _backbone.b"),
    "another prefix": ("model.a.0 model.a.1", "network.a.0 network.a.1"),
    "an inserted segment": ("decoder.l1 decoder.l2", "decoder.decode.l1 decoder.decode.l2"),
    "a dropped segment": ("b1.bn.norm b2.bn.norm", "b1.norm b2.norm"),
    "a segment at the end": ("n1 n2", "n1.bn n2.bn"),
    "a systematic word": ("_conv1 _conv2", "conv1 conv2"),
    "a word in the middle": ("b0._batch_norm b1._batch_norm", "b0.norm b1.norm"),
    "a prefix and a word": ("model.conv1 model.conv2", "layer1 layer2"),
    "upper case": ("Enc.0 Enc.1", "enc.0 enc.1"),
}


@pytest.mark.parametrize(("source", "target"), COMMON.values(), ids=COMMON)
def test_one_common_change_forces_all(source, target):
    source, target = source.split(), target.split()
    plan = match(modules(same(*source)), modules(same(*reversed(target))))
    assert plan.complete
    assert pairs(plan.forced) == dict(zip(source, target, strict=True))


def test_a_change_that_leaves_one_behind_forces_nothing():
    source = modules([*same("model.a", "model.b"), ("model.c", 2), ("model.d", 2)])
    target = modules([*same("a", "b"), ("c", 2), ("other", 2)])
    assert not match(source, target).forced


def test_the_only_one_of_its_structure_is_forced_unless_its_name_is_anothers():
    source = modules([("lstm", 1), ("fc", 2)])
    assert match(source, modules([("rnn", 1), ("head", 2)])).complete
    crossed = match(source, modules([("fc", 1), ("lstm", 2)]))
    assert not crossed.forced
    assert pairs(crossed.proposed) == {"lstm": "fc", "fc": "lstm"}
    behind = match(modules([("m.fc", 1), ("m.x", 2)]), modules([("proj", 1), ("x", 2), ("fc", 3)]))
    assert pairs(behind.proposed) == {"m.fc": "proj"}


def test_a_plan_names_every_module_once():
    source = modules([("same", 9), *same("a", "b"), ("alone", 3), ("x1", 5), ("x2", 5)])
    target = modules([("same", 9), *same("p"), ("new", 4), ("y3", 5), ("z4", 5)])
    plan = match(source, target)
    assert pairs(plan.forced) == {"same": "same"}
    assert pairs(plan.proposed) == {"x1": "y3", "x2": "z4"}
    assert {e.source: e.candidates for e in plan.ambiguous if e.source} == {
        "a": ("p",),
        "b": ("p",),
    }
    assert [e.candidates for e in plan.ambiguous if e.target == "p"] == [("a", "b")]
    assert [(e.source, e.target) for e in plan.impossible] == [("alone", None), (None, "new")]
    assert plan.impossible[0].why == "the target has no module of bias (3,), weight (3, 3)"


def test_a_proposal_warns_where_names_disagree():
    plan = match(modules(same("rnn1", "rnn2")), modules(same("rnn0", "rnn1")))
    assert plan.proposed[0].warning == "by its name it would be rnn1"
    plan = match(modules(same("attn.q", "attn.k")), modules(same("att_k", "att_q")))
    assert [e.warning for e in plan.proposed] == [f"by its name it would be att_{n}" for n in "qk"]
    plan = match(modules(same("l1", "l2")), modules(same("block3", "block2")))
    assert [e.warning[-1] for e in plan.proposed] == ["2", "3"]


def test_what_the_user_says_holds_and_settles_more():
    source, target = modules(same("0", "2", "4")), modules(same("0", "1", "4"))
    plan = match(source, target, said={"2": "1"})
    assert plan.complete
    assert pairs(plan.forced) == {"0": "0", "2": "1", "4": "4"}
    with pytest.raises(DialectError, match="no such module; try 1"):
        match(source, target, said={"2": "11"})
    with pytest.raises(DialectError, match="0 cannot be big"):
        match(source, modules([("big", 2)]), said={"0": "big"})


def test_a_tied_copy_needs_no_place():
    source = [Module(name, (structure(1),), frozenset("t")) for name in ("embed", "head")]
    plan = match(source, modules(same("words")))
    assert plan.complete
    assert pairs(plan.forced) == {"embed": "words", "head": None}
    plan = match(modules(same("words")), source)
    assert [(e.source, e.target) for e in plan.forced] == [("words", "embed"), (None, "head")]


def test_of_tied_modules_without_a_counterpart_one_needs_a_place():
    tied = [Module(name, (structure(1),), frozenset("t")) for name in ("embed", "head")]
    for sides in ((tied, []), ([], tied)):
        plan = match(*sides)
        assert [len(plan.forced), len(plan.impossible)] == [1, 1]


def test_kinds_that_shapes_leave_open_are_one_group():
    embedding, linear = frozenset([Param("table", (4, 3))]), frozenset([Param("weight", (4, 3))])
    either = (embedding, linear)
    source = [Module("words", either), Module("out", either)]
    target = [Module("out", (linear,)), Module("words", (embedding,))]
    assert match(source, target).complete
    renamed = [Module("tokens", (embedding,)), Module("last", (linear,))]
    assert pairs(match(source, renamed).proposed) == {"words": "tokens", "out": "last"}


def test_the_order_of_calls_settles_what_names_do_not():
    source, target = modules(same("0", "2", "4")), modules(same("2", "1", "0"))
    plan = match(source, target, called=(["4", "0", "2", "0"], ["0", "2", "1", "2"]))
    assert pairs(plan.forced) == {"4": "0", "0": "2", "2": "1"}
    assert plan.forced[0].why == "both networks call them in the same order"
    for other in (["0", "2", "1", "1"], ["0", "2"]):
        assert not match(source, target, called=(["4", "0", "2", "0"], other)).forced


SEGMENTS = ("encoder", "decoder", "layers", "block", "conv", "norm", "fc", "proj", "rnn", "attn")


def renamed_network(seed):
    """Return a network, the network under other names and in another order, and the truth."""
    rng = random.Random(seed)
    names = [
        ".".join(
            rng.choice(SEGMENTS) + rng.choice(("", "", str(rng.randrange(4))))
            if rng.random() < 0.8
            else str(rng.randrange(4))
            for _ in range(rng.randint(1, 3))
        )
        for _ in range(rng.randint(1, 12))
    ]
    names = list(dict.fromkeys(names))
    sizes = {name: rng.randrange(1 + len(names) // 2) for name in names}
    truth = {name: name for name in names}
    for _ in range(rng.randint(0, 3)):
        truth = dict(zip(names, rng.choice(CHANGES)(list(truth.values()), rng), strict=True))
    if len(set(truth.values())) < len(names):
        truth = {name: name for name in names}
    order = list(names)
    rng.shuffle(order)
    return [(n, sizes[n]) for n in names], [(truth[n], sizes[n]) for n in order], truth


def _prefixed(names, rng):
    prefix = rng.choice(("net", "model", "encoder"))
    return [f"{prefix}.{name}" for name in names]


def _stripped(names, rng):  # noqa: ARG001
    rest = [name.partition(".")[2] for name in names]
    return rest if all(rest) and len({n.partition(".")[0] for n in names}) == 1 else names


def _inserted(names, rng):
    after = rng.choice(SEGMENTS)
    return [f"{n}.".replace(f"{after}.", f"{after}.inner.")[:-1] for n in names]


def _another_word(names, rng):
    old, new = rng.choice(SEGMENTS), rng.choice(("cell", "unit", "_x", "dense"))
    return [n.replace(old, new) for n in names]


def _renumbered(names, rng):
    """Move the numbers of names that differ in numbers alone: shift or close gaps, in order."""
    families = {}
    for name in names:
        stem = name.rstrip("0123456789")
        families.setdefault(stem, []).append(name)
    stem = rng.choice(list(families))
    start, found = rng.randrange(3), {}
    for i, name in enumerate(sorted(families[stem], key=lambda n: int(n[len(stem) :] or -1))):
        found[name] = f"{stem}{start + i}"
    return [found.get(name, name) for name in names]


def _one_renamed(names, rng):
    at = rng.randrange(len(names))
    return [f"fresh{rng.randrange(9)}" if i == at else n for i, n in enumerate(names)]


CHANGES = (_prefixed, _stripped, _inserted, _another_word, _renumbered, _one_renamed)


@settings(
    max_examples=2000, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(st.integers(0, 2**32))
def test_what_is_forced_is_never_wrong(seed):
    source, target, truth = renamed_network(seed)
    plan = match(modules(source), modules(target))
    for entry in plan.forced:
        assert truth[entry.source] == entry.target, entry
    found = (*plan.forced, *plan.proposed, *plan.ambiguous, *plan.impossible)
    assert {entry.source for entry in found} - {None} == set(truth)
    assert {entry.target for entry in found} - {None} == set(truth.values())


def test_words_stand_in_the_order_of_the_source_whatever_the_hash_seed():
    old = [f"{letter}word" for letter in "kqhbzmwtaexg"]
    new = [f"{letter}name" for letter in "rcyfdjplnsiu"]
    groups = [
        ({word: (word, str(n))}, {name: (name, str(n))})
        for n, (word, name) in enumerate(zip(old, new, strict=True))
    ]
    assert list(dictionary(groups).items()) == list(zip(old, new, strict=True))
