"""Percentiles by nearest rank."""

from tiermesh_cli.percentiles import Percentiles, percentiles


def test_percentiles_are_values_that_occurred():
    """A latency would be shown that nobody saw, or one a rank off."""
    assert percentiles([float(n) for n in range(100, 0, -1)]) == Percentiles(50.0, 95.0, 99.0)
    assert percentiles([3.0]) == Percentiles(3.0, 3.0, 3.0)


def test_nothing_measured_is_not_zero():
    """A tier that answered nothing would look like the fastest."""
    assert percentiles([]) == Percentiles(None, None, None)
