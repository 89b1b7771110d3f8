"""The console from its settings to its end: the wiring, and the order of starting and stopping. The parts do the work."""

import logging
import threading

from schemas.surfaces import load_surfaces
from serving.console.readings import CommandSender, ConsoleParts, PaperTables
from serving.console.settings import ConsoleSettings
from serving.console.watch.asker import NodeAsker
from serving.console.watch.files import RegistryCatalog, ResultFiles
from serving.console.watch.watcher import Watcher
from serving.console.web.app import build_console
from serving.http.server import HttpServer

log = logging.getLogger(__name__)


def run_console(
    settings: ConsoleSettings, sender: CommandSender, stop: threading.Event, *, paper: PaperTables, version: str
) -> None:
    """Serve the pages until `stop` is set. Needs neither broker nor node to start: the pages say what is missing.

    Args:
        sender: hands commands to the controller.
        paper: writes the experiments' tables down.
        version: the release, for the foot of the pages.

    Raises:
        CannotListen: the port is taken.
        ValueError: the surfaces file is wrong.
        RuntimeError: the HTTP server ended by itself.
    """
    surfaces = load_surfaces(settings.surfaces)
    catalog = RegistryCatalog(settings.registry)
    watcher, asker = Watcher(settings.bootstrap, surfaces), NodeAsker()
    results = ResultFiles(settings.console_results)
    parts = ConsoleParts(surfaces, watcher, catalog, asker, sender, results=results, paper=paper, actor=settings.console_actor)
    app = build_console(parts, version=version, hosts=(settings.console_host, *settings.console_hosts))
    chosen_by = "--port or ROOST_CONSOLE_PORT"
    server = HttpServer(app, host=settings.console_host, port=settings.console_port, chosen_by=chosen_by)
    server.start()
    watcher.start()
    log.info("the console is at %s", server.url)
    try:
        while not stop.wait(0.5):
            if not server.running:
                raise RuntimeError("the HTTP server ended by itself; see the log")
    finally:
        server.stop()
        watcher.stop()
        asker.close()
