"""The whole search: every topic, then every snapshot, bundle, training and log of this machine. Changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roost.erasure.files import search_files, search_snapshots
from roost.erasure.mention import Mention
from roost.erasure.topics import search_topics, topics_to_search
from roost.erasure.trace import Trace, last_end_ms
from schemas.progress import OnProgress, untold
from schemas.surfaces import Surfaces
from schemas.topics import deletes_kept_ms

NOT_SEARCHED = (
    "the memory of running roles and nodes",
    "other machines",
    "a shared place of snapshots, or of bundles, behind a URL",
    "backups, mirrors and files that were exported",
)
"""Where no search here looks."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where to search.

    Attributes:
        snapshots: folder of nodes' snapshots on this machine; one that does not exist is passed over.
        snapshots_kept: how many of each bundle the nodes keep.
        folders: of bundles, trainings and logs, as `snapshots`, each with how long a schedule keeps trainings there, in
            milliseconds; None where it keeps none.
        surfaces: their windows bound how long the labeler keeps a join, and embedder and nodes a delete.
    """

    bootstrap: str
    snapshots: Path
    snapshots_kept: int
    folders: Mapping[Path, int | None]
    surfaces: Surfaces


@dataclass(frozen=True, slots=True)
class Found:
    """What the search found, and all that it looked at: finding nothing in a folder that is not there proves nothing."""

    traces: tuple[Trace, ...]
    searched: tuple[str, ...]

    @property
    def until_ms(self) -> int | None:
        """When the last trace is gone; None where nothing ends one, or there are none."""
        return last_end_ms([trace.until_ms for trace in self.traces])


def search(places: Places, name: str, *, on_progress: OnProgress = untold) -> Found:
    """Return every trace of an id.

    Args:
        on_progress: as of `TailReader.to_end`; of a folder called once, as of nobody knows how much.

    Raises:
        BrokerUnavailable: the topics cannot be read.
    """
    mention = Mention(name)
    topics = topics_to_search(places.bootstrap)
    traces = list(search_topics(places.bootstrap, mention, topics, surfaces=places.surfaces, on_progress=on_progress))
    searched = list(topics)
    if places.snapshots.is_dir():
        on_progress(str(places.snapshots), 0, 0)
        traces += search_snapshots(
            places.snapshots, mention, kept=places.snapshots_kept, deletes_kept_ms=deletes_kept_ms(places.surfaces.values())
        )
        searched.append(str(places.snapshots))
    for folder, trainings_kept_ms in places.folders.items():
        if folder.is_dir():
            on_progress(str(folder), 0, 0)
            traces += search_files(folder, mention, trainings_kept_ms=trainings_kept_ms)
            searched.append(str(folder))
    return Found(tuple(traces), tuple(searched))
