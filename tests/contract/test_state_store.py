"""What every processor may expect of a state store, whichever runner owns it."""

from collections.abc import Callable

import pytest

from streams.runner.changelog import ChangelogStore
from streams.state import StateStore

STORES: dict[str, Callable[[], StateStore]] = {"changelog": ChangelogStore}


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest) -> StateStore:
    """Return an empty store of each kind."""
    return STORES[request.param]()


def test_a_key_holds_the_last_value_put(store: StateStore) -> None:
    """A state is the newest value of each key, nothing else."""
    store.put("k", b"1")
    store.put("k", b"2")
    assert store.get("k") == b"2"
    assert list(store.scan()) == [("k", b"2")]


def test_a_missing_or_deleted_key_is_none_and_deleting_it_again_is_harmless(store: StateStore) -> None:
    """Redelivery deletes twice."""
    store.put("k", b"1")
    store.delete("k")
    store.delete("k")
    assert store.get("k") is None
    assert list(store.scan()) == []


def test_an_empty_value_is_a_value(store: StateStore) -> None:
    """Empty bytes taken for a deletion would lose state at the next restart."""
    store.put("k", b"")
    assert store.get("k") == b""
    assert list(store.scan()) == [("k", b"")]


def test_a_scan_gives_the_keys_of_a_prefix_in_order(store: StateStore) -> None:
    """Processors rebuild their indexes from a scan; order makes that deterministic."""
    for key in ("b/2", "a", "b/1", "b", "c", "é/1", "b/10"):
        store.put(key, key.encode())
    assert [key for key, _ in store.scan("b/")] == ["b/1", "b/10", "b/2"]
    assert [key for key, _ in store.scan()] == sorted(["b/2", "a", "b/1", "b", "c", "é/1", "b/10"])
    assert list(store.scan("nothing")) == []


def test_a_store_may_be_changed_while_it_is_scanned(store: StateStore) -> None:
    """Expiry scans and deletes in one go."""
    for key in "abc":
        store.put(key, b"1")
    for key, _ in store.scan():
        store.delete("b")
        store.put(key + "x", b"2")
    assert [key for key, _ in store.scan()] == ["a", "ax", "c", "cx"]


def test_changes_are_what_a_restart_needs_and_no_more() -> None:
    """A key that changed a thousand times in a checkpoint costs one write; one put to its old value costs none."""
    store = ChangelogStore({"same": b"1", "gone": b"1", "new then gone": b"1"})
    store.put("same", b"1")
    store.delete("gone")
    store.delete("never there")
    for value in (b"1", b"2", b"3"):
        store.put("hot", value)
    assert store.take_changes() == [("gone", None), ("hot", b"3")]
    assert store.take_changes() == []


def test_state_and_changes_agree_after_any_restart() -> None:
    """The changelog, folded, is the state: else a restart would forget or resurrect."""
    store = ChangelogStore({"a": b"1"})
    folded: dict[str, bytes] = {"a": b"1"}
    for step in range(30):
        key = f"k{step % 7}"
        if step % 5 == 4:
            store.delete(key)
        else:
            store.put(key, str(step).encode())
        for name, value in store.take_changes() if step % 3 == 0 else []:
            if value is None:
                folded.pop(name, None)
            else:
                folded[name] = value
    for name, value in store.take_changes():
        if value is None:
            folded.pop(name, None)
        else:
            folded[name] = value
    assert folded == dict(store.scan())
