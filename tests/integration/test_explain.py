"""`roost explain` against a real broker and node: what a person asks when a tweet is not there."""

import json
from pathlib import Path
from typing import Any, Protocol

import pytest

from roost import cli
from schemas.codec import encode
from schemas.records.candidates import Candidate, CandidateAttributes, Tweet
from schemas.topics import CANDIDATES, TWEETS, embeddings_topic_name
from schemas.wire.admin import delete_topics, make_admin, partition_counts
from tests.integration.conftest import RunningKafka
from tests.posts import Post, now_ms
from tests.served_node import ServedNode, node_on_a_thread, until
from tests.write_path import WritePath


class HasBootstrap(Protocol):
    """The broker fixture."""

    bootstrap: str


def publish(path: WritePath, post: Post, *, folded: bool = True) -> None:
    """Write a tweet, and its folded state, as producer and embedder would."""
    version = post.current_version
    tweet = Tweet(post.candidate_id, *version, post.author_id, post.created_ms)
    path.send(TWEETS, post.candidate_id.encode(), encode(tweet))
    if folded:
        attributes = CandidateAttributes(post.author_id, post.created_ms)
        candidate = Candidate(post.candidate_id, *version, now_ms(), attributes=attributes)
        path.send(CANDIDATES, post.candidate_id.encode(), encode(candidate))


def test_the_command_tells_every_step_from_publish_to_retrievable(
    broker: HasBootstrap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each question is answered from a node and the topics, by one command and as one JSON object."""
    path = WritePath(broker.bootstrap, tmp_path)
    first, second = path.bundle(1), path.bundle(2)

    def ask(node: ServedNode, candidate: str, *more: str) -> dict[str, Any]:
        words = ["explain", "--user", "u:1", "--candidate", candidate, "--surface", path.surface.name]
        words += ["--surfaces", str(path.surfaces_file), "--bootstrap", path.bootstrap, "--node", node.url, *more, "--json"]
        capsys.readouterr()
        assert cli.run(words) == 0
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    name = f"t:{path.surface.name}"
    before_ms = now_ms()
    with node_on_a_thread(path) as node:
        path.go_live(first)
        post = Post(f"{name}-1")
        publish(path, post)
        path.embed([post], first)
        until(lambda: node.ready() and node.finds(post.candidate_id))
        found = ask(node, post.candidate_id)
        assert (found["why"], found["rank"], found["bundle"]) == ("retrieved", 1, first)
        assert [step["what"] for step in found["timeline"]] == ["published", "folded", "embedded"]
        assert [(epoch["bundle"], epoch["retrievable"]) for epoch in found["epochs"]] == [(first, True)]

        path.start(second)
        waiting = {epoch["bundle"]: epoch for epoch in ask(node, post.candidate_id)["epochs"]}
        assert waiting[second]["cause"] == "not_embedded"
        assert not waiting[second]["retrievable"]

        late = Post(f"{name}-2")
        publish(path, late, folded=False)
        assert ask(node, late.candidate_id)["why"] == "not_folded"
        publish(path, late)
        assert ask(node, late.candidate_id)["why"] == "not_embedded"
        assert ask(node, f"{name}-never")["why"] == "never_published"
        assert ask(node, post.candidate_id, "--language", "ja")["why"] == "filtered"
        path.delete(post, first)
        until(lambda: not node.finds(post.candidate_id))
        assert ask(node, post.candidate_id)["why"] == "deleted"

        then = ask(node, post.candidate_id, "--at", str(before_ms))
        assert then["why"] == "nothing_live"
        past = ask(node, post.candidate_id, "--at", str(found["at_ms"]))
        assert (past["why"], past["bundle"], past["arm"]) == ("in_index", first, "live")
        delete_topics(make_admin(path.bootstrap), [embeddings_topic_name(first)])
        until(lambda: embeddings_topic_name(first) not in partition_counts(make_admin(path.bootstrap)))
        assert ask(node, post.candidate_id, "--at", str(found["at_ms"]))["why"] == "no_longer_known"


def test_a_node_that_is_not_there_or_a_moment_that_is_none_is_said_in_a_sentence(
    broker: RunningKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for a typing mistake, and no broker is waited for before it is told."""
    question = ["explain", "--user", "u:1", "--candidate", "t:1", "--data-dir", str(tmp_path)]
    assert cli.run([*question, "--bootstrap", broker.bootstrap, "--node", "http://127.0.0.1:1"]) == 1
    assert "no answer from" in capsys.readouterr().err
    words = [*question, "--bootstrap", "127.0.0.1:1"]
    for moment in ("yesterday", "9" * 15):
        assert cli.run([*words, "--at", moment]) == 2
    assert cli.run([*words, "--surface", "nowhere"]) == 1
    assert "not configured" in capsys.readouterr().err
