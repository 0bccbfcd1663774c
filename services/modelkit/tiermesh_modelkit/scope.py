"""Novelty: how near a text is to what a classifier was trained on.

Partially relative Mahalanobis distance. With a covariance shared by the labels (Lee et al., arXiv 1807.03888)
the distance to the nearest label centre falls short for labels that are many and close; subtracting the
distance to the training data as a whole (relative Mahalanobis, Ren et al., arXiv 2106.09022) mends that, but
alone it fails with few labels. How much of it helps is a matter of the encoder: see its ScopeFit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.covariance import ledoit_wolf

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ScopeFit:
    """sphere_share of the spread within labels is taken as equal in all directions, on top of Ledoit and Wolf;
    relative_share of the distance to the data as a whole is subtracted.
    """

    sphere_share: float
    relative_share: float


@dataclass(frozen=True)
class ScopeHead:
    """With z = embedding @ whitening - origin, whose axes are those of the spread of the label centres:

    scope_score = max over labels of (2 z·centre - |centre|²) - sum of axis_weights z²
    """

    whitening: FloatArray  # [D, D]
    origin: FloatArray  # [D]
    centres: FloatArray  # [L, D]
    axis_weights: FloatArray  # [D]

    def score(self, embeddings: FloatArray) -> FloatArray:
        """Of embeddings [N, D]: [N], higher is nearer; the reference the graph is held against."""
        white = embeddings @ self.whitening - self.origin
        nearness = 2 * white @ self.centres.T - np.square(self.centres).sum(axis=1)
        return np.asarray(nearness.max(axis=1) - np.square(white) @ self.axis_weights)


def fit_scope(embeddings: FloatArray, labels: IntArray, fit: ScopeFit) -> ScopeHead:
    """From embeddings [N, D] with label numbers [N], each of 0..L-1 present.

    The spread within labels is shrunk towards a sphere (Ledoit and Wolf 2004), so few examples do.
    """
    mean = embeddings.mean(axis=0)
    counts = np.bincount(labels)
    centres = np.zeros((len(counts), embeddings.shape[1]))
    np.add.at(centres, labels, embeddings)
    centres /= counts[:, None]
    within, _ = ledoit_wolf(embeddings - centres[labels], assume_centered=True)
    values, vectors = np.linalg.eigh(within)
    values = (1 - fit.sphere_share) * values + fit.sphere_share * values.mean()
    whitening = vectors / np.sqrt(np.maximum(values, 1e-9 * values[-1]))
    white_centres = (centres - mean) @ whitening
    between = (white_centres.T * (counts / counts.sum())) @ white_centres
    spreads, axes = np.linalg.eigh(between)
    whitening = whitening @ axes
    return ScopeHead(
        whitening=whitening,
        origin=mean @ whitening,
        centres=white_centres @ axes,
        # within these axes the whole of the data has the variance 1 + spread
        axis_weights=1 - fit.relative_share / (1 + np.maximum(spreads, 0)),
    )
