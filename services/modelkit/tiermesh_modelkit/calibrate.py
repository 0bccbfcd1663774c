"""Pure decisions on scores: thresholds, temperature, and how far confidence can be believed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NEVER_CONFIDENT = 2.0
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Selection:
    """What happens to examples that are answered only at or above both thresholds."""

    accepted_count: int
    coverage: float
    accepted_error: float


def scope_threshold(in_scope_scores: FloatArray, *, quantile: float) -> float:
    """The largest score that still keeps 1 - quantile of the in-scope scores [N]."""
    return float(np.quantile(in_scope_scores, quantile, method="lower"))


def confidence_threshold(confidence: FloatArray, correct: BoolArray, *, error_max: float) -> float:
    """The smallest confidence such that among the examples at or above it at most error_max are wrong.

    A plain empirical estimate, without a guarantee for new data. Confidence and correct are [N].
    NEVER_CONFIDENT if no threshold reaches error_max.
    """
    if not len(confidence):
        return NEVER_CONFIDENT
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    wrong_share = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
    last_of_ties = np.append(ranked[1:] != ranked[:-1], True)
    reached = np.flatnonzero((wrong_share <= error_max) & last_of_ties)
    return float(ranked[reached[-1]]) if len(reached) else NEVER_CONFIDENT


def select(accepted: BoolArray, correct: BoolArray) -> Selection:
    """Coverage and error of the accepted, both [N]; the error of none is 0."""
    count = int(accepted.sum())
    error = float((~correct[accepted]).mean()) if count else 0.0
    return Selection(count, count / len(accepted) if len(accepted) else 0.0, error)


def calibration_error(confidence: FloatArray, correct: BoolArray, *, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error over equal-width bins (Guo et al., arXiv 1706.04599)."""
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        (bin_of == each).sum() * abs(confidence[bin_of == each].mean() - correct[bin_of == each].mean())
        for each in np.unique(bin_of)
    ]
    return float(sum(gaps) / len(confidence)) if len(confidence) else 0.0


def negative_log_likelihood(logits: FloatArray, labels: npt.NDArray[np.int64], temperature: float) -> float:
    """Mean over rows of logits [N, L] against label numbers [N]."""
    scaled = logits / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    log_totals = np.log(np.exp(scaled).sum(axis=1))
    return float((log_totals - scaled[np.arange(len(labels)), labels]).mean())


def fit_temperature(logits: FloatArray, labels: npt.NDArray[np.int64]) -> float:
    """The divisor of the logits with the least negative log likelihood (Guo et al., arXiv 1706.04599).

    Golden-section search on its logarithm between 1/16 and 16, to one part in a thousand.
    """
    low, high = np.log(1 / 16), np.log(16.0)
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-3:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if negative_log_likelihood(logits, labels, np.exp(left)) < negative_log_likelihood(
            logits, labels, np.exp(right)
        ):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def auroc(in_scope_scores: FloatArray, out_of_scope_scores: FloatArray) -> float:
    """The chance that an in-scope score is above an out-of-scope one, ties half (Mann-Whitney U)."""
    ranked = np.sort(out_of_scope_scores)
    below = np.searchsorted(ranked, in_scope_scores, side="left")
    not_above = np.searchsorted(ranked, in_scope_scores, side="right")
    return float((below + not_above).mean() / (2 * len(ranked)))
