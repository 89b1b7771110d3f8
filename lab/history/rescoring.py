"""Whether an answer is wholly from the bundle it names, by scoring it again. Trusts nothing the node says but the tokens."""

from pathlib import Path

import numpy as np

from schemas.bundle import read_bundle
from schemas.records.feedback import CandidateToken, QueryToken
from schemas.tokens import read_token
from schemas.towers import Towers
from serving.client import Answer

# fp32 dot products of unit vectors, summed in another order
_TOLERANCE = 1e-4


class AnswerChecker:
    """Scores answers again with the towers of the bundle they name. Towers are loaded once a bundle."""

    def __init__(self, registry: Path, surface: str) -> None:
        self._registry = registry
        self._surface = surface
        self._towers: dict[str, Towers] = {}

    def fault(self, answer: Answer) -> str | None:
        """Return a sentence when the answer mixes bundles or scores differ from the named bundle's, else None."""
        query = read_token(QueryToken, answer.query_token)
        if query is None or query.bundle != answer.bundle:
            return f"answer {answer.request_id} names bundle {answer.bundle}, its query token {query and query.bundle}"
        tokens = [read_token(CandidateToken, candidate.token) for candidate in answer.candidates]
        known = [token for token in tokens if token is not None]
        if len(known) != len(answer.candidates) or any(token.bundle != answer.bundle for token in known):
            return f"answer {answer.request_id} names bundle {answer.bundle}, its candidates {sorted({t.bundle for t in known})}"
        if not known:
            return None
        towers = self._towers_of(answer.bundle)
        expected = towers.embed_candidates([token.features for token in known]) @ towers.embed_queries([query.features])[0]
        scores = np.asarray([candidate.score for candidate in answer.candidates], np.float32)
        worst = float(np.abs(expected - scores).max())
        return None if worst <= _TOLERANCE else f"answer {answer.request_id} differs from its bundle {answer.bundle} by {worst:.4f}"

    def _towers_of(self, bundle: str) -> Towers:
        if bundle not in self._towers:
            self._towers[bundle] = Towers(read_bundle(self._registry, self._surface, bundle))
        return self._towers[bundle]
