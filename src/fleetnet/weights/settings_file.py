"""The settings file of a network: YAML, read with a limit and without anything that runs."""

from __future__ import annotations

from pathlib import Path

from fleetnet.errors import ModelError, needing
from fleetnet.files import atomic_file
from fleetnet.models.description import ROWS, Description, NetworkSettings
from fleetnet.models.narrowing import Narrowing, settings_of
from fleetnet.models.registry import add_described

ENDINGS = (".yaml", ".yml")
NETWORK = "network.yaml"
"""In the folder of a run whose network has settings."""
MOST_BYTES = 256 * 1024


def names_a_file(word: str) -> bool:
    """Tell whether a word for a network is the path of a settings file."""
    return word.casefold().endswith(ENDINGS)


def model_named(word: str) -> str:
    """Return the name of the network that a user means: a name, or the path of a settings file.

    Only for words of users: a name in a file from outside never makes another file be read.

    Raises:
        ModelError: the file describes no network.
    """
    if not names_a_file(word):
        return word
    return add_described(read_description(word).to_values(), word).name


def read_description(path: str | Path) -> Description | Narrowing:
    """Read a network's settings; its name is the file's, unless they have one.

    Raises:
        ModelError: the file cannot be read, is too long, is not YAML, or describes no network.
    """
    with needing(("yaml",), "train", "a network's settings file"):
        from fleetnet.yaml_text import NotYamlError, from_yaml
    try:
        values = from_yaml(_text(Path(path)))
    except NotYamlError as error:
        raise ModelError(f"{path} {error}", file=str(path)) from None
    if isinstance(values, dict):
        values = {"name": _name_of(Path(path)), **values}
    return settings_of(values, str(path))


def write_description(description: NetworkSettings, path: Path, comment: str = "") -> None:
    """Write a network's settings, so that ``path`` is whole or as it was.

    Args:
        description: the network.
        path: of the file, which should end in ``.yaml``.
        comment: lines for people, at the top.

    Raises:
        FleetnetError: the place cannot be written to.
    """
    import yaml

    values = description.to_values()
    rows = values.pop(ROWS, [])
    lines = [f"# {line}" for line in comment.splitlines()]
    for key, value in values.items():
        flat = None if isinstance(value, list | dict) else False
        lines += yaml.safe_dump({key: value}, default_flow_style=flat, width=1000).splitlines()
    if rows:
        lines.append(f"{ROWS}:")
    for row in rows:
        text = yaml.safe_dump(row, sort_keys=False, default_flow_style=True, width=1000)
        lines.append(f"  - {text.strip()}")
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", "utf-8")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ModelError(
                f"{path} is larger than {MOST_BYTES // 1024} KiB: no settings of a network",
                file=str(path),
            )
        return content.decode("utf-8")
    except OSError as error:
        raise ModelError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None
    except UnicodeDecodeError:
        raise ModelError(f"cannot read {path}: it is not UTF-8 text", file=str(path)) from None


def _name_of(path: Path) -> str:
    """Return a file's name with only the signs that a network's name may have."""
    kept = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in path.stem)
    return kept.strip("_")[:64] or "custom"
