"""Defaults in the table of layers against the signatures of the frameworks themselves."""

from __future__ import annotations

import inspect
from dataclasses import replace
from operator import attrgetter

import pytest

from ckptconv.codegen.arguments import facts_of
from ckptconv.dialects import dialect
from ckptconv.graph.forms import Arg, Has
from ckptconv.graph.kinds import KINDS, UNKNOWN
from tests.graph.test_table import SPACES, sample

COUNTED = {"axis", "begin_norm_axis", "begin_params_axis", "group", "groups", "depth_multiplier"}
"""Arguments that the shapes of weights tell."""
OWN = {
    # what a call says of a layer of which nothing is known, where it is not the framework's default
    ("keras", "return_sequences"): "as every other framework's layers do",
}


def defaults(framework, form):
    """Return argument → its default in the signature, one number for equal ones of each axis."""
    cls = attrgetter(f"{form.call.space}.{form.call.name}")(SPACES[framework])
    found = {}
    for owner in reversed(cls.__mro__):
        init = vars(owner).get("__init__")
        for name, given in (
            inspect.signature(init).parameters.items() if inspect.isfunction(init) else ()
        ):
            if given.default is not given.empty:
                row = isinstance(given.default, tuple) and len(set(given.default)) == 1
                found[name] = given.default[0] if row else given.default
    return found


@pytest.mark.parametrize("framework", SPACES)
def test_what_a_call_leaves_out_is_the_default(framework):
    said = {}
    for kind, form in dialect(framework).forms.items():
        own = defaults(framework, form) if form else {}
        for name, arg in form.call.keywords.items() if form else ():
            told = isinstance(arg, Arg) and arg.default is not Arg().default
            if told and name in own and (framework, name) not in OWN:
                said[kind, name] = arg.default, own[name]
    assert len(said) > 20
    assert {place: pair for place, pair in said.items() if pair[0] != pair[1]} == {}


@pytest.mark.parametrize("framework", SPACES)
def test_what_nobody_says_is_the_default(framework):
    """A layer of which there are weights alone is called as the framework would by itself."""
    found = {}
    for kind, form in dialect(framework).forms.items():
        if form is None:
            continue
        own = defaults(framework, form)
        facts = facts_of(replace(sample(kind), attributes={}), dialect(framework).forms)
        for name, arg in form.call.keywords.items():
            known = name in own and isinstance(arg, Arg) and not isinstance(arg, Has)
            if known and name not in COUNTED and (framework, name) not in OWN:
                found[kind, name] = facts[arg.fact or name], own[name]
    wrong = {place: pair for place, pair in found.items() if pair[0] != pair[1]}
    assert {place: pair for place, pair in wrong.items() if pair[0] is not UNKNOWN} == {}
    named = {kind for kind, name in found if name in ("eps", "epsilon", "momentum")}
    assert named >= {kind for kind in KINDS if "Norm" in kind and dialect(framework).forms[kind]}
