"""Reading a bundle, with a bar on stderr while that takes long, as from a registry far away. Knows no command."""

from roost.cli.phases_bar import phases_bar
from schemas.bundle import Bundle, read_bundle
from schemas.registry.place import RegistryPlace


def read_shown(root: RegistryPlace, surface: str, bundle: str) -> Bundle:
    """Read and verify a bundle, as `read_bundle`."""
    with phases_bar(transient=True) as progress:
        return read_bundle(root, surface, bundle, on_progress=progress)
