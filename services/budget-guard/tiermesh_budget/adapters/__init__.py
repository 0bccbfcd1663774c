"""The guard's only third-party I/O: the store's scripts, the ledger's partition, parked records, prices."""
