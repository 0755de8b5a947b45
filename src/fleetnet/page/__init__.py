"""What Fleetnet's pages share: their look, pictures with answers and heat maps, the model card.

A server's playground and the page that needs no server each add a page of their own, and what
answers.
"""

from __future__ import annotations

from importlib import resources


def shared_files() -> dict[str, bytes]:
    """Return the files' contents by their names."""
    kinds = (".css", ".js", ".svg")
    folder = resources.files(__name__)
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name.endswith(kinds)}
