"""What the settings of every process share: how they are read, and the form of a name. Has no setting of its own."""

from pydantic_settings import BaseSettings, SettingsConfigDict

BOOTSTRAP_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"

INSTANCE_NAME = r"^[A-Za-z0-9._-]+$"
"""A pattern: the name becomes a part of keys on `node-status`, and a launcher's claim lists names by commas."""


class RoostSettings(BaseSettings):
    """Read once, from `ROOST_` and the field's name: frozen, unknown keywords refused; an empty variable counts as unset."""

    model_config = SettingsConfigDict(
        env_prefix="ROOST_",
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        populate_by_name=True,
        # no thread can wait for so long: it would end at its first wait
        allow_inf_nan=False,
    )
