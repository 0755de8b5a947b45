"""Data sets of the Hugging Face hub by name: ``hf://owner/name``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from fleetnet.data.remote.store import FetchError, RemoteFile, content_of, tried
from fleetnet.data.sources.features import CARD, INFOS, MAX_CARD, Features, header_of, of_card
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.remote_files import PARQUET, RemoteShardFiles, as_path, shards_among
from fleetnet.data.sources.remote_parquet import RemoteParquetSource
from fleetnet.data.sources.samples import NO_SPLIT, TEST
from fleetnet.data.sources.shards import DATA_FOLDER
from fleetnet.data.sources.split_names import split_of_name, splits_to_use
from fleetnet.errors import DataError, nearest, one_line, require
from fleetnet.reporting import Note
from fleetnet.text import first_few

SCHEME = "hf://"
_ADDRESS = re.compile(
    r"hf://(?P<set>datasets/)?(?P<name>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[\w.-]+|[^/:@]+))?(?:/(?P<within>[^:]*))?"
    r"(?::(?P<split>[\w.-]+))?"
)
_PIECE_OF_MANY = re.compile(r"-\d+-of-\d+.*$")
CONVERTED = "refs/convert/parquet"
DEFAULT = "default"


class HubShards(NamedTuple):
    """Parquet files of a data set.

    Attributes:
        found: the files.
        chosen: those to use, each with its split.
        features: what the data set's card says of their columns.
        notes: on what is left out.
    """

    found: RemoteShardFiles
    chosen: list[tuple[Any, int]]
    features: Features | None
    notes: tuple[str, ...]


class _Entry(NamedTuple):
    """A file, the configuration that it belongs to and the word for its split."""

    file: RemoteFile
    configuration: str
    split: str


def find_on_hub(data: str) -> HubShards:
    """Return the files that ``hf://[datasets/]owner/name[@revision][/which][:split]`` names.

    What comes after the name is a configuration, a folder, a file or a pattern of files.

    Raises:
        FleetnetError: the package huggingface_hub is not installed.
        DataError: there is no such data set, configuration or split, or it has no Parquet files.
    """
    address = _ADDRESS.fullmatch(data)
    if address is None:
        raise DataError(f"{data} is no data set of the hub: write hf://owner/name")
    info = _info(address["name"], address["revision"], data)
    base = f"{SCHEME}datasets/{address['name']}@{info.sha}"
    files = _files(info, base)
    card, infos = (
        content_of(f"{base}/{name}", MAX_CARD) if name in files else None for name in (CARD, INFOS)
    )
    entries = _entries(files, header_of(card))
    if not entries:
        raise DataError(
            f"{data} has no Parquet files; if the hub has converted it, they are in "
            f"hf://{address['name']}@{CONVERTED}"
        )
    entries = _within(entries, (address["within"] or "").strip("/"), base, data)
    configuration = entries[0].configuration
    codes, notes = _splits(entries, address["split"], data)
    kept = [(entry, code) for entry, code in zip(entries, codes, strict=True) if code is not None]
    found = shards_among([entry.file for entry, _ in kept], PARQUET, base)
    chosen = sorted(
        ((as_path(entry.file.url), code) for entry, code in kept), key=lambda one: one[1] == TEST
    )
    return HubShards(found, chosen, of_card(card, infos, configuration), notes)


def open_hub(data: str, options: SourceOptions) -> Source:
    """Open a data set of the hub.

    Raises:
        FleetnetError: a package is not installed.
        DataError: as :func:`find_on_hub`; or as for any Parquet files.
    """
    there = find_on_hub(data)
    return RemoteParquetSource(
        data,
        options,
        there.found,
        "Hugging Face",
        chosen=there.chosen,
        features=there.features,
        notes=there.notes,
    )


def _info(name: str, revision: str | None, data: str) -> Any:
    """Return what the hub says of a data set: its commit, and its files with their sizes."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import (
            GatedRepoError,
            HFValidationError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    except ModuleNotFoundError:
        raise require("huggingface_hub", "hub", f"reading {SCHEME}") from None

    def ask() -> Any:
        try:
            return HfApi().dataset_info(name, revision=revision, files_metadata=True)
        except GatedRepoError:
            return (
                f"{data} may be read only by those who have accepted its terms: accept them on "
                "the hub, and set HF_TOKEN"
            )
        except RepositoryNotFoundError:
            return f"{data} does not exist on the hub, or is private: set HF_TOKEN if it is yours"
        except RevisionNotFoundError:
            return f"{data}: the data set has no revision '{revision}'"
        except HFValidationError as error:
            return f"{data} is no data set of the hub: {one_line(error)}"

    answer = tried(data, ask)
    if isinstance(answer, str):
        raise FetchError(answer, file=data)
    return answer


def _files(info: Any, base: str) -> dict[str, RemoteFile]:
    """Return the files of a data set by their paths in it."""
    found = {}
    for file in info.siblings or ():
        size = file.size if isinstance(file.size, int) else 0
        sha256 = str(file.lfs.sha256) if file.lfs is not None else ""
        url = f"{base}/{file.rfilename}"
        found[file.rfilename] = RemoteFile(url, size, str(file.blob_id or ""), sha256)
    return found


def _entries(files: Mapping[str, RemoteFile], header: Mapping[str, Any]) -> list[_Entry]:
    """Return the Parquet files, as the card assigns them, or as their folders and names do."""
    paths = sorted(path for path in files if path.lower().endswith(PARQUET))
    told = [
        _Entry(files[path], name, split)
        for name, split, patterns in _told(header.get("configs"))
        for path in paths
        if any(_fits(path, pattern) for pattern in patterns)
    ]
    return told or [_Entry(files[path], *_by_place(PurePosixPath(path))) for path in paths]


def _told(configs: object) -> list[tuple[str, str, list[str]]]:
    """Return what a card says of files: configurations, words for splits, and patterns."""
    found = []
    for config in configs if isinstance(configs, list) else ():
        if not isinstance(config, dict):
            continue
        name, data = str(config.get("config_name", DEFAULT)), config.get("data_files")
        splits = data if isinstance(data, list) else [data]
        for split in splits:
            word, paths = ("train", split)
            if isinstance(split, dict):
                word, paths = str(split.get("split", "train")), split.get("path")
            patterns = paths if isinstance(paths, list) else [paths]
            found.append((name, word, [one for one in patterns if isinstance(one, str)]))
    return found


def _fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(
        path, pattern.replace("**/", "")
    )


def _by_place(path: PurePosixPath) -> tuple[str, str]:
    """Return the configuration and the word for the split that a path means."""
    folders = list(path.parent.parts)
    word = _PIECE_OF_MANY.sub("", path.stem)
    if folders and (
        word.isdigit() or split_of_name(word) == NO_SPLIT != split_of_name(folders[-1])
    ):
        word = folders.pop()
    elif folders and split_of_name(folders[-1]) != NO_SPLIT:
        folders.pop()
    if folders and folders[-1] == DATA_FOLDER:
        folders.pop()
    return "/".join(folders) or DEFAULT, word


def _within(entries: list[_Entry], within: str, base: str, data: str) -> list[_Entry]:
    """Return the files of a configuration, a folder or a pattern; of the only one if none is named.

    Raises:
        DataError: there are several, or none of that name.
    """
    names = sorted({entry.configuration for entry in entries})
    if not within:
        if len(names) > 1 and DEFAULT not in names:
            raise DataError(
                f"{data} has several configurations: name one of {first_few(names, 12)}, as in "
                f"{_ADDRESS.sub(_unsplit, data)}/{names[0]}"
            )
        within = DEFAULT if DEFAULT in names else names[0]
    found = [entry for entry in entries if entry.configuration == within]
    if not found:
        paths = [entry.file.url.removeprefix(f"{base}/") for entry in entries]
        found = [
            entry
            for entry, path in zip(entries, paths, strict=True)
            if path.startswith(f"{within}/") or _fits(path, within)
        ]
    if not found:
        raise DataError(
            f"{data}: there is no configuration '{within}'{nearest(within, names)} (there are: "
            f"{first_few(names, 12)})"
        )
    return found


def _unsplit(address: re.Match[str]) -> str:
    return address[0].removesuffix(f":{address['split']}").rstrip("/")


def _splits(
    entries: Sequence[_Entry], wanted: str | None, data: str
) -> tuple[list[int | None], tuple[str, ...]]:
    """Return each file's split, None for what is left out, and notes on that.

    Raises:
        DataError: there is no such split.
    """
    words = list(dict.fromkeys(entry.split for entry in entries))
    if wanted is not None:
        meant = split_of_name(wanted)
        chosen: list[int | None] = [
            NO_SPLIT
            if entry.split == wanted or split_of_name(entry.split) == meant != NO_SPLIT
            else None
            for entry in entries
        ]
        if all(code is None for code in chosen):
            raise DataError(
                f"{data}: there is no split '{wanted}'{nearest(wanted, words)} (there are: "
                f"{first_few(words, 12)})"
            )
        return chosen, ()
    named = [split_of_name(entry.split) for entry in entries]
    others = [word for word in words if split_of_name(word) == NO_SPLIT]
    if len(others) == len(words):
        if len(words) > 1:
            raise DataError(
                f"{data} has splits whose names mean neither train nor val: name one of "
                f"{first_few(words, 12)}, as in {data}:{words[0]}"
            )
        return [NO_SPLIT] * len(entries), ()
    codes, used = splits_to_use([code for code in named if code != NO_SPLIT])
    of_named = iter([int(code) if use else None for code, use in zip(codes, used, strict=True)])
    found = [next(of_named) if code != NO_SPLIT else None for code in named]
    notes = [Note(f"the split '{word}' is left out: {data}:{word} reads it") for word in others]
    return found, tuple(notes)


SOURCE = SourceKind(
    name="hub",
    title="data sets of the hub",
    open=open_hub,
    options=RemoteParquetSource.OPTIONS,
    words=("hf:",),
    rank=45,
)
