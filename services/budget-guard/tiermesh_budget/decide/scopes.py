"""Which scopes an attempt counts in."""

import hashlib

from tiermesh_budget.model import Scope
from tiermesh_contracts.budget import ScopeKind
from tiermesh_contracts.escalations import Escalation, ModelRef


def scope_key(kind: ScopeKind, value: str) -> str:
    """The scope's name in keys and in the ledger.

    A tenant follows a grammar that cannot break out of a key and is kept readable; everything else that a
    producer or a configuration may choose is hashed.
    """
    if kind is ScopeKind.ORG:
        return kind.value
    if kind is ScopeKind.TENANT:
        return f"{kind}:{value}"
    return f"{kind}:{hashlib.sha256(value.encode()).hexdigest()[:24]}"


def scopes_of(escalation: Escalation, ref: ModelRef) -> tuple[Scope, ...]:
    """Org, tenant, project, model, root of the causation chain, request: from wide to narrow."""
    request = escalation.accepted.request
    named = (
        (ScopeKind.ORG, ""),
        (ScopeKind.TENANT, request.tenant),
        (ScopeKind.PROJECT, request.project),
        (ScopeKind.MODEL, str(ref)),
        (ScopeKind.ROOT, f"{request.tenant}/{request.root_id}"),
        (ScopeKind.REQUEST, f"{request.tenant}/{request.request_id}/{escalation.accepted.redrive}"),
    )
    return tuple(Scope(kind, scope_key(kind, value)) for kind, value in named)


def limit_scope(configured: str) -> str:
    """The scope of a configured budget, as the store knows it: `tenant:acme` stays, `model:p/m` is hashed."""
    kind, _, value = configured.partition(":")
    return scope_key(ScopeKind(kind), value) if value else kind
