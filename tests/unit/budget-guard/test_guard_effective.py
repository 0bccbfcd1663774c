"""Which entries of the ledger count, whatever order they were written in."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from fakes.budget import entry, fence
from tiermesh_budget.decide import EffectiveLedger


def read(*entries):
    ledger = EffectiveLedger()
    return ledger, [e.ent[1:] for one in entries for e in ledger.read(one)]


def test_an_append_that_lands_behind_anothers_fence_is_void():
    """Money that the rebuilt store does not count would be granted."""
    ledger, effective = read(fence(1), entry(1), fence(2), entry(2), entry(1, epoch=2))
    assert effective == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert (ledger.epoch, ledger.seq, ledger.voided) == (2, 1, 1)


def test_a_gap_holds_back_what_follows_it():
    """A grant would stand on entries of which one never reached the ledger."""
    ledger, effective = read(fence(1), entry(2), entry(3))
    assert effective == [(1, 0)]
    assert [e.seq for e in ledger.read(entry(1))] == [1, 2, 3]


def test_what_follows_a_gap_behind_a_fence_is_void_for_good():
    """The missing entry, written late, would bring back what the rebuild did not count."""
    ledger, effective = read(fence(1), entry(2), fence(2), entry(1), entry(2))
    assert effective == [(1, 0), (2, 0)]
    assert ledger.voided == 3


def test_a_repeat_is_one_entry():
    """Each redelivery of the outbox would post the money again."""
    _, effective = read(fence(1), entry(1), entry(1), entry(2), entry(1), entry(2))
    assert effective == [(1, 0), (1, 1), (1, 2)]


def test_of_two_fences_of_one_epoch_the_first_by_offset_owns_it():
    """Two guards that open at once would both think that the epoch is theirs."""
    ledger, effective = read(fence(1, "mine"), entry(1), fence(1, "yours"), entry(2))
    assert effective == [(1, 0), (1, 1), (1, 2)]
    assert ledger.run_id == "mine"


def test_a_lower_fence_behind_a_higher_one_changes_nothing():
    """A guard that slept through a rebuild would take the books back."""
    ledger, effective = read(fence(3), entry(1, epoch=3), fence(2), entry(1, epoch=2), entry(2, epoch=3))
    assert effective == [(3, 0), (3, 1), (3, 2)]
    assert ledger.epoch == 3


def test_entries_before_any_fence_of_their_epoch_do_not_count():
    """An epoch that nobody opened would move money."""
    ledger, effective = read(entry(1), entry(1, epoch=5), fence(1), entry(1))
    assert effective == [(1, 0), (1, 1)]
    assert (ledger.epoch, ledger.seq) == (1, 1)


@st.composite
def shuffled_epochs(draw):
    """Epochs in order, the entries of each repeated and out of order; some with a gap; then late appends."""
    records, expected = [], []
    for epoch in range(1, draw(st.integers(1, 3)) + 1):
        records.append(fence(epoch))
        expected.append((epoch, 0))
        count = draw(st.integers(0, 6))
        lost = draw(st.sampled_from([*range(1, count + 1), None]))
        written = [seq for seq in range(1, count + 1) if seq != lost]
        repeats = draw(st.lists(st.sampled_from(written), max_size=6)) if written else []
        records += [entry(seq, epoch=epoch) for seq in draw(st.permutations(written + repeats))]
        expected += [(epoch, seq) for seq in range(1, (lost or count + 1))]
        late = draw(st.lists(st.integers(1, 7), max_size=3))
        records += [entry(seq, epoch=draw(st.integers(0, epoch - 1)) or epoch + 9) for seq in late]
    return records, expected


@given(shuffled_epochs())
def test_repeats_and_any_order_give_one_effective_sequence(case):
    """Two guards that read the same ledger would disagree about the money."""
    records, expected = case
    _, effective = read(*records)
    assert effective == expected


def test_every_order_of_four_entries_gives_the_same_books():
    """As above, every order tried."""
    for order in permutations((entry(1), entry(2), entry(3), entry(4))):
        assert read(fence(1), *order)[1] == [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4)]
