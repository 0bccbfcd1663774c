import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiermesh_modelkit.calibrate import (
    NEVER_CONFIDENT,
    auroc,
    calibration_error,
    confidence_threshold,
    fit_temperature,
    scope_threshold,
    select,
)


@given(st.lists(st.integers(-1000, 1000), min_size=20, max_size=200))
def test_scope_threshold_keeps_its_share(scores: list[int]) -> None:
    """If the quantile were off, more covered requests than promised would be escalated and paid for."""
    values = np.array(scores, dtype=float)
    threshold = scope_threshold(values, quantile=0.05)
    assert (values >= threshold).mean() >= 0.95
    assert (values > threshold).mean() <= 0.95 + 1 / len(values)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=100), st.sampled_from([0.0, 0.08, 0.3]))
def test_confidence_threshold_is_the_smallest_that_holds(rows: list[tuple[int, bool]], error_max: float) -> None:
    """If a lower threshold would do, work is escalated for nothing; if it does not hold, errors pass."""
    confidence = np.array([row[0] / 20 for row in rows])
    correct = np.array([row[1] for row in rows], dtype=bool)
    threshold = confidence_threshold(confidence, correct, error_max=error_max)
    holds = [value for value in np.unique(confidence) if (~correct[confidence >= value]).mean() <= error_max]
    assert threshold == (min(holds) if holds else NEVER_CONFIDENT)


def test_selection_of_nothing_has_no_error() -> None:
    """If an empty selection divided by zero, a model that is never sure could not be reported."""
    nothing = np.zeros(4, dtype=bool)
    assert select(nothing, nothing).accepted_error == 0
    assert select(nothing, nothing).coverage == 0


def test_temperature_recovers_overconfident_logits() -> None:
    """If the temperature were not found, confidence would not mean a share of right answers."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(5000, 4)) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(4, p=row) for row in chances])
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.1)


def test_calibration_error_of_known_cases() -> None:
    """If the error were misjudged, a badly calibrated model would pass for a good one."""
    assert calibration_error(np.full(10, 1.0), np.ones(10, dtype=bool)) == 0
    assert calibration_error(np.full(10, 1.0), np.zeros(10, dtype=bool)) == 1
    half = np.array([True, False] * 5)
    assert calibration_error(np.full(10, 0.75), half) == pytest.approx(0.25)


def test_auroc_counts_ties_half() -> None:
    """If ties counted whole, a score that is constant would look like a perfect one."""
    assert auroc(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert auroc(np.array([2.0, 3.0]), np.array([1.0])) == 1
    assert auroc(np.array([0.0, 2.0]), np.array([1.0])) == 0.5
