"""What a node measures of a shadow index, and what the controller makes of it."""

from pathlib import Path
from typing import Protocol

import pytest

from schemas.codec import decode
from schemas.parity import progress_of
from schemas.records.control import NodeStatus, Progress, Rollout, Stage
from schemas.rollout import fold, nothing_yet
from schemas.topics import NODE_STATUS, ROLLOUTS
from schemas.wire.tail import TailReader
from serving.filling import filled as filled_module
from tests.posts import Post, now_ms
from tests.served_node import node_on_a_thread, until
from tests.write_path import WritePath


class HasBootstrap(Protocol):
    """The broker fixture."""

    bootstrap: str


def test_a_shadow_that_lacks_one_candidate_waits_and_is_ready_when_it_comes(
    broker: HasBootstrap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost embedding shows in no offset: the embedder wrote what it says, and the node applied it all."""
    monkeypatch.setattr(filled_module, "SETTLED_S", -1.0)
    path = WritePath(broker.bootstrap, tmp_path)
    live, shadow = path.bundle(1), path.bundle(2)
    posts = [Post(f"t:{n}", topics=(f"topic-{n % 7}",)) for n in range(60)]
    with node_on_a_thread(path) as node, TailReader(path.bootstrap, NODE_STATUS, [0]) as statuses:
        path.go_live(live)
        path.embed(posts, live)
        path.start(shadow)
        path.embed(posts[30:], shadow)
        newest: list[NodeStatus] = []

        def status() -> NodeStatus:
            mine = f"node:{path.surface.name}".encode()
            newest.extend(decode(NodeStatus, r.value) for r in statuses.poll() if r.key == mine and r.value is not None)
            return newest[-1] if newest else NodeStatus("", 0, ready=False)

        def ready_to_flip() -> bool:
            heard = status()
            # an embedder that says of itself that it wrote whatever the node has applied
            told = tuple(Progress(p.surface, p.bundle, p.partition, {}, p.applied, 0, 0, True) for p in heard.progress)
            embedder = NodeStatus("embedder:0", heard.time_ms, ready=True, progress=told)
            found = progress_of(rollout(path), [heard, embedder], now_ms(), partitions=4, silence_ms=60_000)
            return [progress.bundle for progress in found if progress.at_parity] == [shadow]

        until(lambda: status().coverage.get(shadow) == 0.5)
        assert shadow not in status().recall, "of half a corpus nobody asks it"
        path.embed(posts[1:30], shadow)
        until(lambda: status().recall.get(shadow, 0.0) == 1.0 and status().coverage.get(shadow) == 59 / 60)
        assert not ready_to_flip()
        assert live not in status().recall, "measured only while nobody is answered from it"
        path.embed(posts[:1], shadow)
        until(ready_to_flip)
        assert node.bundles()[shadow]["recall"] >= 0.95
        assert 'roost_shadow_recall_ratio{bundle="' + shadow in node.http.get("/metrics").text


def rollout(path: WritePath) -> Rollout:
    """Return the surface's state as its log tells it."""
    state = nothing_yet(path.surface.name)
    with TailReader(path.bootstrap, ROLLOUTS, [0], once=True) as reader:
        for record in reader.read_to_end():
            if record.key == path.surface.name.encode():
                state = fold(state, decode(Rollout, record.value or b""))
    assert state.in_stage(Stage.BUILDING)
    return state
