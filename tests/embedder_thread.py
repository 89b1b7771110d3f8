"""An embedder on a thread of the test's own. Holds no test."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from streams.embedder.role import run_embedder
from streams.settings import EmbedderSettings


@contextmanager
def running_embedder(settings: EmbedderSettings) -> Iterator[None]:
    """Run the embedder in a thread; an error it dies of is raised at the end."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            run_embedder(settings, stop)
        except BaseException as error:
            errors.append(error)
            raise

    thread = threading.Thread(target=run, name="embedder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)
    assert not errors
    assert not thread.is_alive()
