"""The registry of topics."""

import re

from tiermesh_contracts.topics import (
    DEFERRED,
    LEDGER,
    LOCAL,
    MESSAGE_BYTES_MAX,
    OPENINGS,
    OUTCOMES,
    POOLS,
    REQUESTS,
    RESULTS,
    TOPICS,
    dead_letter_topics,
    dead_letters,
    may_reply_to,
    tenant_results,
)

SERVICES = {"router", "local-inference", "escalation", "budget-guard"}


def test_names_are_unique_legal_and_carry_their_version() -> None:
    """Two topics of one name would mix two kinds of record; an illegal name is created nowhere."""
    names = [t.name for t in (*TOPICS, *dead_letter_topics())]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"mesh\.[a-z.]+\.v1(\.dlq)?", name)
    assert set(LOCAL) == set(POOLS)


def test_every_topic_has_the_owners_of_the_design() -> None:
    """Access rules are made from these names: a second writer of grants could spend money nobody set aside."""
    writers = {t.name: set(t.writers) for t in TOPICS}
    for name in ("mesh.grants.v1", "mesh.deferred.v1", "mesh.ledger.v1", "mesh.openings.v1"):
        assert writers[name] == {"budget-guard"}
    assert writers["mesh.outcomes.v1"] == {"escalation"}
    assert writers["mesh.requests.v1"] == writers["mesh.feedback.v1"] == {"producers"}
    assert writers["mesh.escalations.v1"] == SERVICES - {"budget-guard"}
    assert writers["mesh.results.v1"] == SERVICES
    readers = {t.name: set(t.readers) for t in TOPICS}
    assert readers["mesh.grants.v1"] == {"escalation"}
    assert readers["mesh.outcomes.v1"] == {"budget-guard", "escalation"}
    assert all(t.writers and t.readers and t.key for t in TOPICS)


def test_topics_that_order_money_or_answers_never_change_their_partitions() -> None:
    """With another count a key lands elsewhere, and "first by offset" has no meaning any more."""
    assert {t for t in TOPICS if t.partitions_fixed} == {LEDGER, OUTCOMES, RESULTS, DEFERRED}


def test_the_ledger_is_kept_for_ever_and_state_is_compacted() -> None:
    """After the broker's default week the books could not be rebuilt."""
    assert LEDGER.config["retention.ms"] == "-1"
    assert LEDGER.config["cleanup.policy"] == "delete"
    assert {t for t in TOPICS if t.cleanup == "compact"} == {DEFERRED, OPENINGS}
    assert "retention.ms" not in DEFERRED.config


def test_only_requests_are_stamped_by_the_broker() -> None:
    """A producer with a wrong clock would move its own deadline."""
    assert REQUESTS.config["message.timestamp.type"] == "LogAppendTime"
    assert all(t.config["message.timestamp.type"] == "CreateTime" for t in TOPICS if t is not REQUESTS)
    assert all(t.config["max.message.bytes"] == str(MESSAGE_BYTES_MAX) for t in TOPICS)


def test_whatever_a_service_reads_has_dead_letters() -> None:
    """A bad record would have nowhere to go and would end the process at each redelivery."""
    consumed = {t.name for t in TOPICS if set(t.readers) & SERVICES and t is not OPENINGS}
    assert {t.name for t in dead_letter_topics()} == {dead_letters(name) for name in consumed}


def test_a_tenants_topic_is_no_other_topic_and_no_other_tenants() -> None:
    """A tenant's name would be chosen so that its result topic is someone else's."""
    taken = {t.name for t in (*TOPICS, *dead_letter_topics())}
    tenants = ["a", "a.v1", "v1", "a.b", "results", "v1.dlq", "a-b", "a_b"]
    own = {tenant_results(tenant) for tenant in tenants}
    assert len(own) == len(tenants)
    assert not own & taken
    assert all(may_reply_to(tenant_results(a), b) == (a == b) for a in tenants for b in tenants)
