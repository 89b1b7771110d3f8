"""What the launcher reads from the environment."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from roost.settings import LauncherSettings
from serving.settings import NodeSettings
from streams.settings import LabelerSettings


def test_an_unset_or_empty_bootstrap_variable_means_start_a_broker_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`KAFKA_BOOTSTRAP_SERVERS= make demo` is how a shell unsets a variable for one command."""
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    assert LauncherSettings().kafka_bootstrap_servers is None
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    assert LauncherSettings().kafka_bootstrap_servers is None


def test_named_servers_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is the documented way to use your own Kafka."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092, [::1]:9093")
    assert LauncherSettings().kafka_bootstrap_servers == "kafka-1:9092,[::1]:9093"


def test_what_the_roles_will_be_called_is_read_from_their_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher claims these names before it starts a role: of others, it would let two of one name run."""
    monkeypatch.setenv("ROOST_INSTANCE", "7")
    monkeypatch.setenv("ROOST_NODE_ID", "n7")
    assert (
        (LauncherSettings().instance, LauncherSettings().node_id)
        == (LabelerSettings().instance, NodeSettings().node_id)
        == ("7", "n7")
    )
    for name in ("ROOST_INSTANCE", "ROOST_NODE_ID"):
        monkeypatch.delenv(name)
    assert (LauncherSettings().instance, LauncherSettings().node_id) == (LabelerSettings().instance, NodeSettings().node_id)


@pytest.mark.parametrize("name", ["ROOST_INSTANCE", "ROOST_NODE_ID"])
@pytest.mark.parametrize("wrong", ["a,b", "a b", "a:b", "ü"])
def test_a_name_that_its_role_would_refuse_is_refused_before_anything_starts(
    name: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role ended at every start, again and again; and a claim with a comma in a name is read back as one of other names."""
    monkeypatch.setenv(name, wrong)
    with pytest.raises(ValidationError, match=name):
        LauncherSettings()


@pytest.mark.parametrize("wrong", ["kafka", "kafka:", "http://kafka:9092", "kafka:9092;other:9092", "a:1,,b:2", "é:1 2"])
def test_servers_that_no_client_could_use_are_refused_by_name(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Kafka client would retry a malformed address for ever, in silence."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", wrong)
    with pytest.raises(ValidationError, match="host:port"):
        LauncherSettings()


def test_settings_cannot_be_changed_or_misspelt() -> None:
    """A role that changed a setting while running would disagree with what it reported at start."""
    settings = LauncherSettings(java_home=Path("/jdk"))
    assert settings.java == str(Path("/jdk/bin/java"))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, "java_home", None)  # noqa: B010 - a plain assignment is refused by the type checker
    with pytest.raises(ValidationError, match="Extra inputs"):
        LauncherSettings.model_validate({"kafka_bootstrap": "a:1"})
