"""The label head: multinomial logistic regression on frozen embeddings, with honest scores out of fold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from tiermesh_modelkit.calibrate import fit_temperature, negative_log_likelihood
from tiermesh_modelkit.scope import ScopeFit, fit_scope

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

C_GRID = (3.0, 10.0, 30.0, 100.0)
# Beyond this many examples the grid always came out at the same C, and three folds are enough.
MANY_EXAMPLES = 5_000
C_MANY_EXAMPLES = 30.0
SEARCH_FOLDS = 3
ITERATIONS_MAX = 500


@dataclass(frozen=True)
class LinearHead:
    """Logits of embeddings [N, D] are embeddings @ weights + bias; the temperature is already divided in."""

    weights: FloatArray  # [D, L]
    bias: FloatArray  # [L]

    def logits(self, embeddings: FloatArray) -> FloatArray:
        return embeddings @ self.weights + self.bias


@dataclass(frozen=True)
class OutOfFold:
    """Scores of every example by a head and a scope that had not seen it."""

    logits: FloatArray  # [N, L]
    scope_scores: FloatArray  # [N]


def fit_head(embeddings: FloatArray, labels: IntArray, c: float) -> LinearHead:
    """From embeddings [N, D] and label numbers [N], all of 0..L-1; c is the inverse regularisation."""
    return _linear(LogisticRegression(C=c, max_iter=ITERATIONS_MAX).fit(embeddings, labels))


def folds_count(labels: IntArray) -> int:
    """Five folds, three for many examples, never more than the rarest label has examples."""
    return _folds_of(labels, 3 if len(labels) > MANY_EXAMPLES else 5)


def choose_c(embeddings: FloatArray, labels: IntArray, *, seed: int) -> float:
    """The C of the grid with the least negative log likelihood out of fold, after its own temperature."""
    if len(labels) > MANY_EXAMPLES:
        return C_MANY_EXAMPLES
    logits = np.zeros((len(C_GRID), len(labels), int(labels.max()) + 1))
    for train, held in _folds(labels, SEARCH_FOLDS, seed=seed):
        model = LogisticRegression(max_iter=ITERATIONS_MAX, warm_start=True)
        for row, c in enumerate(C_GRID):
            model.set_params(C=c).fit(embeddings[train], labels[train])
            logits[row, held] = _linear(model).logits(embeddings[held])
    losses = [negative_log_likelihood(each, labels, fit_temperature(each, labels)) for each in logits]
    return C_GRID[int(np.argmin(losses))]


def predict_out_of_fold(
    embeddings: FloatArray,
    labels: IntArray,
    *,
    c: float,
    scope_fit: ScopeFit,
    seed: int,
    on_fold: Callable[[int, int], None],
) -> OutOfFold:
    """Scores each fold with what was fitted on the others; on_fold(done, total) after each."""
    logits = np.zeros((len(labels), int(labels.max()) + 1))
    scope_scores = np.zeros(len(labels))
    total = folds_count(labels)
    for done, (train, held) in enumerate(_folds(labels, total, seed=seed), start=1):
        logits[held] = fit_head(embeddings[train], labels[train], c).logits(embeddings[held])
        scope_scores[held] = fit_scope(embeddings[train], labels[train], scope_fit).score(embeddings[held])
        on_fold(done, total)
    return OutOfFold(logits, scope_scores)


def _linear(model: LogisticRegression) -> LinearHead:
    weights, bias = model.coef_.T, model.intercept_
    if weights.shape[1] == 1:
        # for two labels sklearn keeps one column, the difference of the two
        weights, bias = np.hstack([-weights, weights]) / 2, np.array([-bias[0], bias[0]]) / 2
    return LinearHead(weights, bias)


def _folds_of(labels: IntArray, wanted: int) -> int:
    return max(2, min(wanted, int(np.bincount(labels).min())))


def _folds(labels: IntArray, wanted: int, *, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    folds = StratifiedKFold(_folds_of(labels, wanted), shuffle=True, random_state=seed)
    yield from folds.split(np.zeros(len(labels)), labels)
