"""How narrow served traffic has become, as one number. Knows no model.

Section 3.4 of the paper filters its data by a first model's score: the higher the threshold, the smaller the part of the corpus
that is left to learn from, and the worse what is learned does on the whole. A system that trains on what it served sets that
threshold itself; this says how small the part is.
"""

import numpy as np

from lab.observed.columns import Ints


def effective_share(served: Ints, corpus: int) -> float:
    """Return the effective number of served candidates (exp of Shannon's entropy, Hill's number of order 1) as a share of a corpus.

    1 when every candidate was served equally often, 1 / corpus when one had all impressions, NaN when nothing was served.

    Args:
        served: the candidate of each impression, int64 [n].
        corpus: how many candidates could have been served.
    """
    if not len(served):
        return float("nan")
    counts = np.unique(served, return_counts=True)[1]
    share = counts / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()) / corpus)
