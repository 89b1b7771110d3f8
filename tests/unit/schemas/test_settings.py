"""What the settings of every process share."""

import pytest
from pydantic import ValidationError

from roost.settings import LauncherSettings
from schemas.settings import RoostSettings
from serving.console.settings import ConsoleSettings
from serving.settings import NodeSettings
from streams.settings import StreamsSettings
from trainer.options.settings import PretrainOptions
from trainer.settings import TrainerSettings

ALL = (LauncherSettings, ConsoleSettings, NodeSettings, StreamsSettings, PretrainOptions, TrainerSettings)


@pytest.mark.parametrize("kind", ALL)
def test_all_settings_are_read_by_one_rule(kind: type[RoostSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule that a role lacks shows in production alone: an empty variable, or a keyword that nobody reads."""
    for name, found in kind.model_fields.items():
        variable = found.validation_alias or f"{kind.model_config['env_prefix']}{name}"
        monkeypatch.setenv(str(variable).upper(), "")
    settings = kind()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings, next(iter(kind.model_fields)), None)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        kind.model_validate({"no_such_setting": 1})


@pytest.mark.parametrize(
    ("kind", "name"), [(StreamsSettings, "instance"), (NodeSettings, "node_id"), (LauncherSettings, "node_id")]
)
@pytest.mark.parametrize("value", ["", "a,b", "a/b", "a b"])
def test_a_name_has_one_form_wherever_it_is_set(kind: type[RoostSettings], name: str, value: str) -> None:
    """What the launcher took and the node refused ended the node again and again."""
    kind.model_validate({name: "eu-1.node_7"})
    with pytest.raises(ValidationError, match=name):
        kind.model_validate({name: value})
