"""Offline metrics, as pure functions of arrays (paper, section 4.3). Embed nothing and judge nothing.

What cannot be measured (one class only, nobody with a declared language) is NaN, never 0: 0 would look like a result.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.manifest import Metric

# the paper's Popular-Recommendation correlation is of the top 5 (section 4.3.2)
TOP_PLACES = 5
# here, where nothing but numpy is imported: the console names it too, and has no torch
MISMATCH_OF_PLACES = f"language_mismatch_at_{TOP_PLACES}"

NO_LANGUAGE = -1
_CHUNK_ROWS = 1024
# scores of a chunk, which take 4 bytes each, and their order 8: of a million candidates few queries at a time
_CHUNK_SCORES = 1 << 24

Floats = NDArray[np.float32] | NDArray[np.float64]


def roc_auc(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """Return the share of (positive, negative) pairs ranked rightly, ties counting half; NaN without both classes.

    Args:
        scores, labels: [n]; a label is true for a positive.
    """
    return float(_auc_by_group(scores, labels, np.zeros(len(labels), np.int64))[0]) if len(labels) else float("nan")


def grouped_roc_auc(scores: Floats, labels: NDArray[np.bool_], groups: NDArray[np.integer]) -> float:
    """Return the unweighted mean of ROC-AUC over the groups (queries or users) that have both classes; NaN if none has.

    Args:
        scores, labels, groups: [n]; a group is a number from 0.
    """
    auc = _auc_by_group(scores, labels, groups)
    measured = auc[np.isfinite(auc)]
    return float(measured.mean()) if len(measured) else float("nan")


def pair_scores(queries: NDArray[np.float32], candidates: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """Return the similarity of each query with its own candidate, float32 [n]: the inner product, or minus the distance.

    Args:
        queries, candidates: [n, dim]; of length 1 where the metric is cosine.
        metric: how they are compared.
    """
    if metric == "euclidean":
        distances: NDArray[np.float32] = np.linalg.norm(queries - candidates, axis=1)
        return -distances
    scores: NDArray[np.float32] = np.einsum("nd,nd->n", queries, candidates)
    return scores


def ranking_scores(queries: NDArray[np.float32], candidates: NDArray[np.float32], metric: Metric) -> NDArray[np.float32]:
    """Return a score of every pair, float32 [queries, candidates], larger for what is nearer; comparable within a query alone."""
    scores: NDArray[np.float32] = queries @ candidates.T
    if metric == "euclidean":
        # |q - c|^2 = |q|^2 - 2 (q c - |c|^2 / 2), and |q| is the same for all of a query's candidates
        scores -= np.einsum("nd,nd->n", candidates, candidates) / 2
    return scores


def nearest(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], k: int, *, metric: Metric = "cosine"
) -> NDArray[np.int64]:
    """Return rows of the k nearest candidates, best first, int64 [queries, min(k, candidates)].

    Exhaustive on purpose: an approximate index must not decide which model is better.
    """
    k = min(k, len(candidates))
    best = np.empty((len(queries), k), np.int64)
    if not k:
        return best
    rows = max(1, min(_CHUNK_ROWS, _CHUNK_SCORES // len(candidates)))
    for begin in range(0, len(queries), rows):
        best[begin : begin + rows] = _nearest_of(queries[begin : begin + rows], candidates, k, metric)
    return best


def language_mismatch(top_languages: NDArray[np.integer], declared: NDArray[np.integer]) -> float:
    """Return the share of queries whose first candidate is in none of the user's declared languages; or of several places.

    Left out, since they cannot be judged: users who declared none, and candidates of undetermined language. NaN if none is left.

    Args:
        top_languages: [queries] or [queries, places], the candidates' languages; `NO_LANGUAGE` when undetermined.
        declared: [queries, languages], padded with `NO_LANGUAGE`.
    """
    languages = top_languages.reshape(len(declared), -1)
    judged = (declared != NO_LANGUAGE).any(axis=1)[:, None] & (languages != NO_LANGUAGE)
    if not judged.any():
        return float("nan")
    matches = (declared[:, None, :] == languages[:, :, None]).any(axis=2)
    return float(1.0 - matches[judged].mean())


def popularity_correlation(recommended: NDArray[np.int64], popularity: NDArray[np.integer]) -> float:
    """Return the Popular-Recommendation Pearson correlation: item popularity against the share of queries that get the item.

    Args:
        recommended: [queries, k], rows of the recommended items; the paper takes k = 5.
        popularity: [items].

    Returns:
        NaN when all items are equally popular or equally often recommended.
    """
    if not recommended.size:
        return float("nan")
    share = np.bincount(recommended.ravel(), minlength=len(popularity)) / len(recommended)
    x, y = popularity - popularity.mean(), share - share.mean()
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / spread) if spread > 0 else float("nan")


def _nearest_of(queries: NDArray[np.float32], candidates: NDArray[np.float32], k: int, metric: Metric) -> NDArray[np.int64]:
    scores = ranking_scores(queries, candidates, metric)
    farness = np.negative(scores, out=scores)
    top = np.argpartition(farness, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(farness, top, axis=1), axis=1, kind="stable")
    return np.take_along_axis(top, order, axis=1)


def _auc_by_group(scores: Floats, labels: NDArray[np.bool_], groups: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mann-Whitney by ranks within each group, float64 [groups], NaN where a class is missing."""
    size = int(groups.max(initial=-1)) + 1
    order = np.lexsort((scores, groups))
    grouped, values = groups[order], scores[order]
    begins = np.r_[True, (grouped[1:] != grouped[:-1])] if len(order) else np.empty(0, bool)
    ties = begins.copy()
    ties[1:] |= values[1:] != values[:-1]
    position = np.arange(len(order), dtype=np.float64)
    tie = np.cumsum(ties) - 1
    # a tie's members share the mean of their positions
    mean_position = (np.bincount(tie, weights=position) / np.maximum(np.bincount(tie), 1))[tie]
    rank = mean_position - np.maximum.accumulate(np.where(begins, position, 0.0)) + 1
    positive = labels[order]
    positives = np.bincount(grouped, weights=positive, minlength=size)
    negatives = np.bincount(grouped, minlength=size) - positives
    rank_sum = np.bincount(grouped, weights=rank * positive, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
