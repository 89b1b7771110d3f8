"""What answers must be, given the log that counts: one bundle, the right one, from a node that keeps up. Reads no topic."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from lab.history.log_rules import Chain, Violation
from lab.history.recorded import Observed
from schemas.features.hashing import canary_bucket
from schemas.records.control import Rollout, Stage

MAX_BEHIND_MS = 5_000
"""A node that still acts by an older revision after so long is stuck; in health it takes some tens of milliseconds."""
CLOCK_MS = 250
"""How far a client's clock and the broker's may differ."""

_STREAMING = (Stage.BUILDING, Stage.READY, Stage.CANARY, Stage.LIVE, Stage.DRAINING)


def answer_violations(chains: Mapping[str, Chain], answers: Iterable[Observed]) -> Iterator[Violation]:
    """Yield every broken rule: each answer against the log, then each node and each user over time."""
    by_node: dict[tuple[str, str], list[Observed]] = defaultdict(list)
    of_user: dict[tuple[str, int, str], set[str]] = defaultdict(set)
    for answer in answers:
        chain = chains.get(answer.surface, Chain(answer.surface, ()))
        for rule, what in _of_one(chain, answer):
            yield Violation(rule, f"answer {answer.request_id} of {answer.node}: {what}")
        by_node[answer.node, answer.surface].append(answer)
        if answer.user_id is not None and not answer.pinned:
            of_user[answer.surface, answer.revision, answer.user_id].add(answer.bundle)
    for (node, surface), own in by_node.items():
        yield from _backwards(node, surface, own)
    for (surface, revision, user_id), bundles in of_user.items():
        if len(bundles) > 1:
            who = f"{user_id} on {surface}"
            yield Violation("not sticky", f"{who} was answered by {', '.join(sorted(bundles))} at one revision, {revision}")


def _of_one(chain: Chain, answer: Observed) -> Iterator[tuple[str, str]]:
    if answer.fault is not None:
        yield "mixed", answer.fault
    newest = chain.entries[-1] if chain.entries else None
    acted_by = chain.at(answer.revision)
    if newest is None or acted_by is None:
        yield "unknown revision", f"it names revision {answer.revision}; the log has {len(chain.entries)}"
        return
    if acted_by.append_ms > answer.answered_ms + CLOCK_MS:
        ahead_ms = acted_by.append_ms - answer.answered_ms
        yield "from the future", f"it acts by revision {answer.revision} {ahead_ms} ms before that was written"
    following = chain.at(answer.revision + 1)
    if following is not None and answer.asked_ms - following.append_ms > MAX_BEHIND_MS:
        behind_ms = answer.asked_ms - following.append_ms
        yield "stuck", f"it acts by revision {answer.revision}, {behind_ms} ms after the next one was written"
    yield from _of_bundle(acted_by.rollout, answer)


def _of_bundle(state: Rollout, answer: Observed) -> Iterator[tuple[str, str]]:
    stages = {entry.bundle: entry.state for entry in state.bundles}
    stage = stages.get(answer.bundle)
    if stage is None:
        yield "unknown epoch", f"revision {answer.revision} knows no bundle {answer.bundle}"
    elif stage not in _STREAMING:
        yield "ended epoch", f"bundle {answer.bundle} is {stage} at revision {answer.revision}"
    elif not answer.pinned and stage not in (Stage.LIVE, Stage.CANARY):
        yield "wrong epoch", f"bundle {answer.bundle} is {stage}, not live, at revision {answer.revision}"
    elif not answer.pinned and (expected := _expected(state, answer.user_id)) != answer.bundle:
        yield "wrong arm", f"bundle {answer.bundle} answered {answer.user_id or 'nobody'}, whose bucket belongs to {expected}"


def _expected(state: Rollout, user_id: str | None) -> str | None:
    for entry in state.bundles:
        if entry.state is Stage.CANARY and user_id is not None and canary_bucket(entry.salt, user_id) < entry.share_bp:
            return entry.bundle
    return next((entry.bundle for entry in state.bundles if entry.state is Stage.LIVE), None)


def _backwards(node: str, surface: str, answers: list[Observed]) -> Iterator[Violation]:
    """Yield where a node acted by an older revision than in an answer that had ended before the question was asked."""
    ended = iter(sorted(answers, key=lambda answer: answer.answered_ms))
    upcoming = next(ended, None)
    highest: Observed | None = None
    for answer in sorted(answers, key=lambda answer: answer.asked_ms):
        while upcoming is not None and upcoming.answered_ms < answer.asked_ms:
            if highest is None or upcoming.revision > highest.revision:
                highest = upcoming
            upcoming = next(ended, None)
        if highest is not None and answer.revision < highest.revision:
            what = f"{node} acts by revision {answer.revision} of {surface} in answer {answer.request_id}"
            yield Violation("backwards", f"{what}, after {highest.revision} in answer {highest.request_id}")
