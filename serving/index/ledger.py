"""Which version of each candidate counts: the id map, remembered deletes and the expiry horizon. Holds no vectors; one writer."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.index.protocol import FloatArray, IntArray, Rows, Version
from serving.index.tiers.arena import Arena, SlotArray

NEVER_EXPIRED = -(2**63)
SWEEP_FROM = 1_024
"""Remembered deletes before the first sweep of those the horizon has passed."""


class Ledger:
    """Decides what a batch may change. Not thread-safe: the index's write lock guards it."""

    def __init__(self) -> None:
        self._slot_of: dict[str, int] = {}
        self._deleted: dict[str, Version] = {}
        self._sweep_at = SWEEP_FROM
        self.expired_before_ms = NEVER_EXPIRED

    def __len__(self) -> int:
        return len(self._slot_of)

    @property
    def deletes_remembered(self) -> int:
        """How many deletes are held, some of them perhaps behind the horizon."""
        return len(self._deleted)

    def slot_of(self, candidate_id: str) -> int | None:
        """Where the live row of this id is."""
        return self._slot_of.get(candidate_id)

    def admit(self, rows: Rows, arena: Arena) -> tuple[NDArray[np.int64], SlotArray]:
        """Positions of the batch that win, each id once, and the slots of the rows they replace. Lifts deletes they outrank."""
        ids = rows.candidate_ids
        versions = np.asarray(rows.versions, dtype=np.int64)
        count = len(ids)
        get = self._slot_of.get
        held = np.fromiter((get(i, -1) for i in ids), dtype=np.int64, count=count)
        keep = np.minimum(np.asarray(rows.created_ms, dtype=np.int64), versions[:, 0]) >= self.expired_before_ms
        known = np.flatnonzero(held >= 0)
        if len(known):
            keep[known] &= ~_older(versions[known], arena.versions[held[known]])
        if self._deleted:
            self._drop_deleted(ids, versions, keep)
        accepted = np.flatnonzero(keep)
        if len(set(ids)) < count:
            accepted = _last_of_highest(ids, versions, accepted)
        replaced = held[accepted]
        return accepted, replaced[replaced >= 0]

    def _drop_deleted(self, ids: Sequence[str], versions: IntArray, keep: NDArray[np.bool_]) -> None:
        deleted = self._deleted
        for at, candidate_id in enumerate(ids):
            if candidate_id in deleted and deleted[candidate_id] >= (int(versions[at, 0]), int(versions[at, 1])):
                keep[at] = False

    def place(self, candidate_ids: Sequence[str], first_slot: int) -> None:
        """The rows now live at consecutive slots."""
        self._slot_of.update(zip(candidate_ids, range(first_slot, first_slot + len(candidate_ids)), strict=True))
        if self._deleted:
            for candidate_id in self._deleted.keys() & set(candidate_ids):
                del self._deleted[candidate_id]

    def delete(self, candidate_ids: Sequence[str], versions: IntArray, arena: Arena) -> SlotArray:
        """Remember the deletes; returns the slots of the live rows that go."""
        gone: list[int] = []
        for candidate_id, (time_ms, number) in zip(candidate_ids, versions.tolist(), strict=True):
            version = (time_ms, number)
            slot = self._slot_of.get(candidate_id)
            if slot is not None:
                held = arena.versions[slot]
                if (int(held[0]), int(held[1])) > version:
                    continue
                del self._slot_of[candidate_id]
                gone.append(slot)
            # behind the horizon nothing of this age can come back, so there is nothing to remember
            if time_ms >= self.expired_before_ms:
                self._deleted[candidate_id] = max(version, self._deleted.get(candidate_id, version))
        return np.array(gone, dtype=np.int64)

    def raise_horizon(self, created_before_ms: int) -> None:
        """Nothing older may enter from now on."""
        self.expired_before_ms = max(self.expired_before_ms, created_before_ms)
        if len(self._deleted) >= self._sweep_at:
            self._deleted = self._within_horizon()
            self._sweep_at = max(SWEEP_FROM, 2 * len(self._deleted))

    def _within_horizon(self) -> dict[str, Version]:
        return {i: version for i, version in self._deleted.items() if version[0] >= self.expired_before_ms}

    def forget(self, candidate_ids: Sequence[str]) -> None:
        """Drop these live ids without remembering a delete."""
        for candidate_id in candidate_ids:
            del self._slot_of[candidate_id]

    def forget_deletes(self, candidate_ids: Sequence[str]) -> None:
        """Remember no delete of these ids any more."""
        for candidate_id in candidate_ids:
            self._deleted.pop(candidate_id, None)

    def remembered(self) -> tuple[dict[str, Version], int]:
        """Deletes that could still be contradicted, and the horizon."""
        return self._within_horizon(), self.expired_before_ms

    def replace_places(self, slot_of: dict[str, int]) -> None:
        """Every live row moved: the whole map anew."""
        self._slot_of = slot_of


def _older(versions: IntArray, than: IntArray) -> NDArray[np.bool_]:
    older: NDArray[np.bool_] = (versions[:, 0] < than[:, 0]) | ((versions[:, 0] == than[:, 0]) & (versions[:, 1] < than[:, 1]))
    return older


def _last_of_highest(ids: Sequence[str], versions: IntArray, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    best: dict[str, tuple[int, int, int]] = {}
    for at in positions.tolist():
        rank = (int(versions[at, 0]), int(versions[at, 1]), at)
        if ids[at] not in best or best[ids[at]] < rank:
            best[ids[at]] = rank
    return np.array(sorted(rank[2] for rank in best.values()), dtype=np.int64)


def fitting_rows(rows: Rows, units: FloatArray, accepted: NDArray[np.int64]) -> Rows:
    """The accepted part of a batch with its normalised vectors."""
    if len(accepted) == len(rows):
        return Rows(rows.candidate_ids, units, rows.versions, rows.created_ms, rows.languages, rows.author_ids, rows.payloads)
    at = accepted.tolist()
    return Rows(
        candidate_ids=[rows.candidate_ids[i] for i in at],
        vectors=units[accepted],
        versions=np.asarray(rows.versions)[accepted],
        created_ms=np.asarray(rows.created_ms)[accepted],
        languages=[rows.languages[i] for i in at],
        author_ids=[rows.author_ids[i] for i in at],
        payloads=[rows.payloads[i] for i in at],
    )
