"""The whole explanation as plain data: a node's word, the topics' records, and what is missing between them."""

import time
from dataclasses import asdict
from typing import Any

from roost.explain.absence import absence
from roost.explain.epoch_at import bundle_at, rollout_at
from roost.explain.timeline import Timeline, read_timeline
from schemas.codec import SchemaLookup
from schemas.progress import OnProgress, untold
from schemas.records.control import BundleStage, Rollout
from schemas.rollout import STREAMING
from schemas.surfaces import Surface
from schemas.topics import ROLLOUTS
from schemas.wire.tail import TailReader
from serving.client import Client, ExplainRequest, Explanation


def of_now(
    bootstrap: str,
    surface: Surface,
    client: Client,
    request: ExplainRequest,
    *,
    lookup: SchemaLookup | None = None,
    on_progress: OnProgress = untold,
) -> dict[str, Any]:
    """Return why the candidate is, or is not, in the answer now; raises `ClientError` and `BrokerUnavailable`.

    Args:
        on_progress: as of `TailReader.to_end`.
    """
    explanation = client.explain(surface.name, request)
    now_ms = time.time_ns() // 1_000_000
    rollout = _rollout_at(bootstrap, surface, now_ms)
    streaming = [] if rollout is None else [entry.bundle for entry in rollout.in_stage(*STREAMING)]
    way = read_timeline(bootstrap, surface, request.candidate_id, streaming, lookup=lookup, on_progress=on_progress)
    data = asdict(explanation)
    if explanation.why in ("not_held", "masked"):
        missing = absence(
            way,
            request.candidate_id,
            surface,
            explanation.bundle,
            now_ms=now_ms,
            applied=explanation.applied,
            held=False,
        )
        data |= {"why": missing.cause, "sentence": missing.sentence}
    epochs = [] if rollout is None else _epochs(rollout, way, explanation, surface, now_ms)
    return {**data, "user_id": request.user_id, "at_ms": now_ms, "epochs": epochs, "timeline": [asdict(step) for step in way.steps]}


def of_then(
    bootstrap: str,
    surface: Surface,
    user_id: str,
    candidate_id: str,
    *,
    at_ms: int,
    lookup: SchemaLookup | None = None,
    on_progress: OnProgress = untold,
) -> dict[str, Any]:
    """Return what the topics tell of a moment of the past: which epoch answered the user, and whether it held the candidate.

    Ranks of the past are in no topic; records that compaction has removed since are missing.
    """
    rollout = _rollout_at(bootstrap, surface, at_ms)
    bundle = None if rollout is None else bundle_at(rollout, user_id)
    asked = {"surface": surface.name, "user_id": user_id, "candidate_id": candidate_id, "at_ms": at_ms}
    bundles = [] if rollout is None else [entry.bundle for entry in rollout.in_stage(*STREAMING)]
    way = read_timeline(bootstrap, surface, candidate_id, bundles, lookup=lookup, on_progress=on_progress).until(at_ms)
    timeline = [asdict(step) for step in way.steps]
    if rollout is None or bundle is None:
        return {**asked, "why": "nothing_live", "sentence": f"nothing was live on {surface.name} then", "timeline": timeline}
    missing = absence(way, candidate_id, surface, bundle, now_ms=at_ms)
    return {
        **asked,
        "revision": rollout.revision,
        "bundle": bundle,
        "arm": "live" if bundle == rollout.live else "canary",
        "why": missing.cause,
        "sentence": missing.sentence,
        "epochs": [_epoch(entry, way, candidate_id, surface, now_ms=at_ms) for entry in rollout.in_stage(*STREAMING)],
        "timeline": timeline,
    }


def _rollout_at(bootstrap: str, surface: Surface, at_ms: int) -> Rollout | None:
    with TailReader(bootstrap, ROLLOUTS, [0], once=True) as reader:
        return rollout_at(reader.to_end(), surface.name, at_ms)


def _epochs(rollout: Rollout, way: Timeline, explanation: Explanation, surface: Surface, now_ms: int) -> list[dict[str, Any]]:
    held = {holding.bundle: holding.version for holding in explanation.holdings}
    epochs = []
    for entry in rollout.in_stage(*STREAMING):
        epoch = _epoch(entry, way, explanation.candidate_id, surface, now_ms=now_ms)
        # the node's word counts for what it holds whole: what is embedded may not have reached it
        retrievable = held.get(entry.bundle) is not None
        if not retrievable and epoch["cause"] == "in_index":
            epoch |= {"cause": "not_applied", "sentence": f"embedded by {entry.bundle}; this node's index does not hold it (yet)"}
        epochs.append({**epoch, "retrievable": retrievable})
    return epochs


def _epoch(entry: BundleStage, way: Timeline, candidate_id: str, surface: Surface, *, now_ms: int) -> dict[str, Any]:
    bundle = entry.bundle
    missing = absence(way, candidate_id, surface, bundle, now_ms=now_ms)
    published = next((step.at_ms for step in way.steps if step.what == "published"), None)
    embedded = next((step.at_ms for step in way.steps if step.bundle == bundle and step.what == "embedded"), None)
    took_ms = None if published is None or embedded is None else embedded - published
    return {
        "bundle": bundle,
        "stage": str(entry.state),
        "cause": missing.cause,
        "sentence": missing.sentence,
        "publish_to_embedded_ms": took_ms,
    }
