"""Counts of what a walk through folders skips, to be reported in one line."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetnet.amounts import count

SYSTEM_FOLDERS = frozenset(
    (
        "__macosx", "lost.dir", "lost+found", "found.000", "$recycle.bin",
        "system volume information", "@eadir", "@tmp", "@recycle", "@recently-snapshot",
        "#recycle", "#snapshot", ".ipynb_checkpoints", "__pycache__",
    )
)  # fmt: skip
"""Folders of operating systems, archives, network disks and notebooks, in lower case."""
SYSTEM_FILES = frozenset((".ds_store", ".localized", "thumbs.db", "ehthumbs.db", "desktop.ini"))
_SYSTEM_PREFIX = "._"
"""Prefix of the files in which macOS keeps attributes that other file systems lack."""
_LONGEST = 10
"""Longest ending, with its dot; longer ones count as part of the name."""
_SHOWN = 6


@dataclass
class LeftOut:
    """Counts of what was skipped.

    Attributes:
        endings: files whose names are not those of images, by ending in lower case, ``""`` for
            those without one.
        loose: images beside class folders, which therefore have no class.
        hidden: files and folders whose names begin with a dot.
        special: pipes, sockets and devices.
        links: links to a folder that contains them, or that was visited before by another link.
        system: folders and files of the operating system, by name.
    """

    endings: Counter[str] = field(default_factory=Counter)
    loose: int = 0
    hidden: int = 0
    special: int = 0
    links: int = 0
    system: Counter[str] = field(default_factory=Counter)

    def passes_over(self, name: str) -> bool:
        """Tell whether a file or folder is skipped because of its name, and count it if so."""
        folded = name.casefold()
        if folded in SYSTEM_FOLDERS or folded in SYSTEM_FILES:
            self.system[name] += 1
        elif folded.startswith(_SYSTEM_PREFIX):
            self.system[_SYSTEM_PREFIX] += 1
        elif folded.startswith("."):
            self.hidden += 1
        else:
            return False
        return True

    def add_file(self, name: str) -> None:
        """Count a file whose name is not that of an image."""
        ending = Path(name).suffix.lower()
        self.endings[ending if ending[1:].isalnum() and len(ending) <= _LONGEST else ""] += 1

    @property
    def line(self) -> str:
        """Return all of it on one line; empty if nothing relevant was left out.

        Files of the operating system are not reported: they are never photographs.
        """
        found = [
            self._endings(),
            _count(self.loose, "image", "outside the class folders"),
            _count(self.special, "pipe", "or the like"),
            _count(self.links, "link", "to folders that are looked into already"),
            f"{self.hidden:,} hidden" if self.hidden else "",
        ]
        folders = [name for name in self.system if name.casefold() in SYSTEM_FOLDERS]
        if folders:
            found.append(f"the system's own {', '.join(sorted(folders))}")
        return "; ".join(filter(None, found))

    def _endings(self) -> str:
        if not self.endings:
            return ""
        kinds = sorted(self.endings.items(), key=lambda item: (-item[1], item[0]))
        words = [f"{number:,} {ending or 'without an ending'}" for ending, number in kinds[:_SHOWN]]
        if rest := sum(number for _, number in kinds[_SHOWN:]):
            words.append(f"{rest:,} others")
        return f"{', '.join(words)} (no images by their names)"

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {**vars(self), "endings": dict(self.endings), "system": dict(self.system)}


def _count(number: int, noun: str, rest: str) -> str:
    return f"{count(number, noun)} {rest}" if number else ""
