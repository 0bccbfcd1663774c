"""Scopes: what an attempt counts in, and that no name can count in another's."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fakes.budget import LARGE, SMALL, escalation
from tiermesh_budget.decide.scopes import limit_scope, scope_key, scopes_of
from tiermesh_contracts.budget import ScopeKind
from tiermesh_contracts.ids import new_request_id
from tiermesh_contracts.requests import Lineage

SAFE_KEY = re.compile(r"org|tenant:[a-z0-9][a-z0-9._-]{0,63}|(project|model|root|request):[0-9a-f]{24}")
HOSTILE = ["a}:b", "{other}", "a b", "a|day", "a\nb", "A", "", "a:b", "-a", "ä", "a" * 65, "a*"]


def keys(about, ref=LARGE):
    return {scope.kind: scope.key for scope in scopes_of(about, ref)}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tenant_or_project_cannot_even_be_built(name):
    """It would break out of its key in the store, or out of the list of keys in a reservation."""
    for which in ("tenant", "project"):
        with pytest.raises(ValidationError):
            escalation(**{which: name})


@given(st.sampled_from([k for k in ScopeKind if k not in {ScopeKind.ORG, ScopeKind.TENANT}]), st.text(max_size=80))
def test_whatever_is_not_held_to_a_grammar_is_hashed(kind, value):
    """A model's name from a configuration or a producer's text would name another scope's key."""
    assert SAFE_KEY.fullmatch(scope_key(kind, value))


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True))
def test_every_scope_of_every_tenant_is_safe_in_a_key(tenant):
    """One tenant's spend would land in another's sum."""
    for key in keys(escalation(tenant=tenant)).values():
        assert SAFE_KEY.fullmatch(key)


def test_an_attempt_counts_in_each_kind_of_scope_once_from_wide_to_narrow():
    """A limit that is configured would never be looked at."""
    scopes = scopes_of(escalation(), LARGE)
    assert [scope.kind for scope in scopes] == list(ScopeKind)
    assert scopes[0].key == "org"
    assert scopes[1].key == "tenant:acme"


def test_families_and_requests_are_kept_apart_by_tenant():
    """Ids are chosen by producers: one tenant could exhaust another's family or request."""
    root, request_id = new_request_id(), new_request_id()
    same = {"request_id": request_id, "lineage": Lineage(root_id=root)}
    one, two = keys(escalation(**same)), keys(escalation(tenant="other", **same))
    for kind in (ScopeKind.TENANT, ScopeKind.ROOT, ScopeKind.REQUEST):
        assert one[kind] != two[kind]
    for kind in (ScopeKind.ORG, ScopeKind.PROJECT, ScopeKind.MODEL):
        assert one[kind] == two[kind]


def test_a_whole_chain_counts_in_one_root_and_each_redrive_in_its_own_request():
    """An agent's loop would be many small families, or a redrive be short of money that the first send used."""
    root = new_request_id()
    first = escalation(request_id=root)
    child = escalation(lineage=Lineage(root_id=root, parent_id=root, depth=1))
    assert keys(first)[ScopeKind.ROOT] == keys(child)[ScopeKind.ROOT]
    again = first.model_copy(update={"accepted": first.accepted.model_copy(update={"redrive": 1})})
    assert keys(first)[ScopeKind.REQUEST] != keys(again)[ScopeKind.REQUEST]
    second = first.model_copy(update={"attempt": 2})
    assert keys(first)[ScopeKind.REQUEST] == keys(second)[ScopeKind.REQUEST]


def test_a_configured_limit_finds_the_scope_that_attempts_count_in():
    """A budget would be accepted, stored and never enforced."""
    about = escalation(tenant="acme", project="apollo")
    one, other = keys(about), keys(about, SMALL)
    assert limit_scope("org") == one[ScopeKind.ORG]
    assert limit_scope("tenant:acme") == one[ScopeKind.TENANT]
    assert limit_scope("project:apollo") == one[ScopeKind.PROJECT]
    assert limit_scope("model:sim/sim-large") == one[ScopeKind.MODEL] != other[ScopeKind.MODEL]
    root = about.accepted.request.root_id
    assert limit_scope(f"root:acme/{root}") == one[ScopeKind.ROOT]
    assert [limit_scope(kind) for kind in ("tenant", "project", "model", "root")] == [
        "tenant",
        "project",
        "model",
        "root",
    ]
