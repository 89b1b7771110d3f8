"""Settings of the trainer, read once from the environment. Connects to nothing."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from schemas.registry.folder import FolderRegistry
from schemas.registry.place import RegistrySetting
from schemas.registry.remote import DEFAULT_CACHE
from schemas.settings import BOOTSTRAP_VARIABLE, RoostSettings
from schemas.surfaces import names_of
from schemas.topics import DAY_MS, INPUTS_KEPT_MS

SKEW_SAMPLE = 1_000


class TrainerSettings(RoostSettings):
    """What the schedule reads: `KAFKA_BOOTSTRAP_SERVERS`, the rest from `ROOST_` and the field's name.

    Attributes:
        bootstrap: host:port of the brokers, comma-separated.
        registry_cache: folder for the bundles fetched from a registry behind a URL.
        registry: of published bundles, `<surface>/<bundle id>/`: a folder, or a URL of any kind fsspec knows, such as `s3://bucket/prefix`.
        surfaces: TOML file of surfaces; None means the shipped ones.
        train: names of the surfaces this process trains; in the environment separated by commas.
        interval_s: shortest time between two trainings of a surface.
        poll_s: how often the rollout state and the topics are looked at.
        min_fresh_examples: fine-tune once this many came since those the live bundle was trained on.
        min_pretrain_examples: train the first bundle, or an ensemble, once there are this many examples.
        min_corpus: and this many candidates.
        pretrain_min_steps: a small window is gone through more often, until a pre-training, or each part of an ensemble, has made
            this many steps.
        max_examples: the newest examples that are kept in memory and trained on at once.
        skew_sample: before each training so many of the newest served examples' features are computed again from the raw records,
            and a feature that was served otherwise stops it; 0 compares none.
        evaluation_share: newest share of a window that is held out to evaluate on; the next window begins with it.
        replay: weight of replayed random negatives in a fine-tune; 0 is the paper's recipe.
        anchor_fine_tunes: fine-tunes are also held against an older ancestor, the one that came of so many fine-tunes of the
            pre-trained bundle; 0 is that one itself. A new pre-training begins a new line.
        drift_replay: weight of replay in a second fine-tune of the same parent on the same window, made when the first was refused
            by nothing but gates of what random negatives teach; 0 makes none.
        draw_back_steps: what even the last fine-tune of a window is refused for by such gates alone is drawn back to the anchor
            until nothing refuses it, to a whole number of so many even steps; 0 draws nothing back.
        train_recipe: what is trained from scratch: `finetune` pre-trains the first bundle, `ensemble` trains an ensemble, on all
            examples that are held, also where towers are live. Either is tuned from then on.
        train_served_by: whose answers a fine-tune learns from: `anyone`'s, or those that the bundle to be tuned gave, the
            `parent`: then neither a canary nor what was live before it teaches it.
        train_cache: folder that each training's data are kept in, as Parquet, for `roost train reproduce`; None keeps none.
        train_caches_kept: the newest that are kept there, of each surface.
        train_caches_kept_days: those that are older are removed when the schedule next looks for examples, and an erased author's
            tweets with them. A bundle of then can be rebuilt as long as the topics hold its data.
        train_tensorboard: folder that each training's loss, learning rate, examples/s, metrics and gates are written under, for
            TensorBoard; None writes none.
        torch_threads: bundles are reproduced exactly only with equal threads.
        seed: of towers, batches and negatives.
        broker_wait_s: how long a start waits for a broker before it gives up.
        log_format: "json" makes every log line one JSON object, with the bundle, topic, partition and offset it is about.
        metrics_port: port of Prometheus metrics, one a process; unset means none.
        metrics_host: address to bind it to; anything but the default makes it readable from other machines.
    """

    bootstrap: str = Field(default="127.0.0.1:9092", validation_alias=BOOTSTRAP_VARIABLE)
    registry_cache: Path = DEFAULT_CACHE
    registry: RegistrySetting = FolderRegistry(Path("registry"))
    surfaces: Path | None = None
    train: Annotated[tuple[str, ...], NoDecode, BeforeValidator(names_of)] = Field(default=("home-timeline",), min_length=1)
    interval_s: float = Field(default=300.0, ge=0)
    poll_s: float = Field(default=1.0, gt=0)
    min_fresh_examples: int = Field(default=1_000, ge=1)
    min_pretrain_examples: int = Field(default=2_000, ge=1)
    min_corpus: int = Field(default=200, ge=1)
    pretrain_min_steps: int = Field(default=120, ge=1)
    max_examples: int = Field(default=500_000, ge=1)
    evaluation_share: float = Field(default=0.2, gt=0, lt=1)
    skew_sample: int = Field(default=SKEW_SAMPLE, ge=0)
    replay: float = Field(default=1.0, ge=0)
    anchor_fine_tunes: int = Field(default=1, ge=0)
    drift_replay: float = Field(default=16.0, ge=0)
    draw_back_steps: int = Field(default=16, ge=0)
    train_recipe: Literal["finetune", "ensemble"] = "finetune"
    train_served_by: Literal["anyone", "parent"] = "anyone"
    train_cache: Path | None = None
    train_caches_kept: int = Field(default=10, ge=1)
    train_caches_kept_days: float = Field(default=INPUTS_KEPT_MS / DAY_MS, gt=0)
    train_tensorboard: Path | None = None
    torch_threads: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)
    broker_wait_s: float = Field(default=600.0, gt=0)
    log_format: Literal["text", "json"] = "text"
    metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    metrics_host: str = "127.0.0.1"
