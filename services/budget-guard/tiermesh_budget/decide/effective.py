"""Which ledger entries count: the order of the ledger's partition, read as it stands.

An entry is valid if no higher epoch's fence precedes it, and effective if it is valid and every lower seq of its
epoch is valid too. A late append that lands behind another's fence is void, whoever acknowledged it.
"""

from tiermesh_contracts.budget import LedgerEntry, LedgerKind


class EffectiveLedger:
    """Folds the entries of one org, in offset order."""

    def __init__(self) -> None:
        self.epoch = 0
        """Of the latest fence; 0 before the first."""
        self.seq = 0
        """Highest effective seq of that epoch."""
        self.run_id: str | None = None
        self.voided = 0
        """Entries that a fence overtook."""
        self._ahead: dict[int, LedgerEntry] = {}

    def read(self, entry: LedgerEntry) -> list[LedgerEntry]:
        """The entries that became effective with this one, in order of seq; repeats change nothing."""
        if entry.kind is LedgerKind.EPOCH_OPENED:
            return self._fence(entry)
        if entry.epoch != self.epoch:
            self.voided += entry.epoch < self.epoch
            return []
        if entry.seq > self.seq:
            self._ahead.setdefault(entry.seq, entry)
        effective = []
        while self.seq + 1 in self._ahead:
            self.seq += 1
            effective.append(self._ahead.pop(self.seq))
        return effective

    def _fence(self, entry: LedgerEntry) -> list[LedgerEntry]:
        if entry.epoch <= self.epoch:
            return []  # of two fences of one epoch, the lower offset owns it
        self.voided += len(self._ahead)
        self.epoch, self.seq, self.run_id = entry.epoch, 0, entry.run_id
        self._ahead.clear()
        return [entry]
