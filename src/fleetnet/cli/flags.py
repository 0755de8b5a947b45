"""Flags in place of arguments: where other rooms say ``images=``, a person types ``--images``."""

from __future__ import annotations

import re

FLAGS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "agreement",
        "batch_size",
        "calibrate",
        "classes",
        "device",
        "engine",
        "image_column",
        "images",
        "label",
        "label_separator",
        "limit",
        "multi_label",
        "output",
        "precision",
        "root",
        "separator",
        "split",
        "split_column",
        "threads",
        "to",
        "val_list",
        "weights",
    )
} | {"label_columns": "--label-column", "resume": "fleetnet train --resume", "set_folder": "--set"}
"""What other rooms call an argument, to its flag."""

# Not inside a path, such as data/split=train/0.parquet.
_ARGUMENT = re.compile(rf"(?<![\w/\\=.'\"-])({'|'.join(FLAGS)})=(?:'([^']*)')?(?![\w'\"/\\]|\.\w)")
_SETTING = re.compile(
    r"(?<![\w/\\.-])set (?=[a-z_]+(?:\.[a-z_]+)*=[^\s/\\]+(?:[\s,;:)]|$))"
    r"(?![a-z_.]+=\S*\.[A-Za-z])"
)

# People's own words: what a message quotes, and a file's name before its colon.
_QUOTED = re.compile(r"(?<![\w=])'[^']*'(?![\w.'])|^[^:']*\.[A-Za-z]\w{1,4}(?=: )")


def with_flags(message: str) -> str:
    """Return a message with flags: ``split='all'`` is ``--split all``.

    Settings of a recipe, ``set data.workers=0``, are ``--set data.workers=0``. What is quoted, and
    the file's name that a message begins with, stay as they are.
    """
    shown, end = "", 0
    for quoted in _QUOTED.finditer(message):
        shown += _own_words(message[end : quoted.start()]) + quoted[0]
        end = quoted.end()
    return shown + _own_words(message[end:])


def _own_words(text: str) -> str:
    return _SETTING.sub("--set ", _ARGUMENT.sub(_flag, text))


def _flag(found: re.Match[str]) -> str:
    flag = FLAGS[found[1]]
    return flag if found[2] is None else f"{flag} {found[2]}"
