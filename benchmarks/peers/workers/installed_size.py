"""Print the size of distributions with all that they need: ``installed_size.py NAME ...``.

What a package's own list of files (PEP 376) says, in the blocks that they take on the disk; what
is installed beside them, such as pip, does not count.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
from pathlib import Path


def needed(names: list[str]) -> dict[str, importlib.metadata.Distribution]:
    """Return the distributions of these names and of all that they require, where installed."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in names:
                raise
            continue  # of another platform, or left out on purpose
        waiting += [
            re.split(r"[\s\[;<>=!~(]", requirement, maxsplit=1)[0]
            for requirement in found[name].requires or []
            if "extra ==" not in requirement
        ]
    return found


def size_of(distribution: importlib.metadata.Distribution) -> int:
    """Return the bytes on the disk of one distribution."""
    paths = {Path(str(distribution.locate_file(file))) for file in distribution.files or []}
    return sum(path.lstat().st_blocks * 512 for path in paths if path.is_file())


if __name__ == "__main__":
    sizes = {name: size_of(one) for name, one in needed(sys.argv[1:]).items()}
    print(json.dumps({"bytes": sum(sizes.values()), "packages": sizes}))
