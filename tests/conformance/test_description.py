"""A set from outside is hostile until it is checked: one line says what is wrong with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from fleetnet.conformance.description import DESCRIPTION
from fleetnet.conformance.files import MAX_DESCRIPTION_BYTES, ConformanceSet
from fleetnet.conformance.refusals import Kind, fits, kind_of
from fleetnet.errors import FleetnetError, ImageError

TEXT = (ConformanceSet.load().path / DESCRIPTION).read_text("utf-8")
Change = Callable[[Any], None]


def refusal(folder: Path, text: str) -> str:
    """Return the line with which a set of this description is refused."""
    (folder / DESCRIPTION).write_text(text, "utf-8")
    with pytest.raises(FleetnetError) as raised:
        ConformanceSet.load(folder)
    line = str(raised.value)
    assert "\n" not in line
    assert DESCRIPTION in line
    return line


def set_to(*places: str | int, value: Any) -> Change:
    def change(values: Any) -> None:
        for place in places[:-1]:
            values = values[place]
        values[places[-1]] = value

    return change


PICTURE = ("pictures", 0)
INPUT = (*PICTURE, "inputs", 0)
CASE = ("rejection", "cases", 0)
ODD = ("rejection", "cases", 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_to(*INPUT, "interpolation", value="nearest"), "interpolation: it must be 'bil"),
        (set_to("network", "interpolation", value="nearest"), "not 'nearest'"),
        (set_to(*PICTURE, "file", value="../secret"), "not a plain path below the set's folder"),
        (set_to(*PICTURE, "file", value="/etc/passwd"), "not '/etc/passwd'"),
        (set_to(*PICTURE, "file", value="pictures/../x"), "not a plain path"),
        (set_to(*PICTURE, "file", value="c:\\x"), "not a plain path"),
        (set_to(*PICTURE, "file", value="a/b/c"), "not a plain path"),
        (set_to(*PICTURE, "file", value="pictures/x\n"), "not a plain path"),
        (set_to(*INPUT, "file", value=".."), "pictures.0.inputs.0.file"),
        (set_to("network", "file", value="~/x"), "network.file"),
        (set_to(*PICTURE, "name", value="\x1b[2J"), "pictures.0.name"),
        (set_to(*PICTURE, "bytes", value=10**18), "pictures.0.bytes"),
        (set_to(*PICTURE, "bytes", value=-1), "pictures.0.bytes"),
        (set_to(*INPUT, "resize", value=10**9), "at most 4096"),
        (set_to(*INPUT, "crop", value=0), "at least 1"),
        (set_to(*INPUT, "crop", value=28), "crop (28) is larger than resize (27)"),
        (set_to(*INPUT, "sample_bits", value=7), "sample_bits"),
        (set_to(*INPUT, "exact", value="maybe"), "exact"),
        (set_to(*INPUT, "sha256", value="abc"), "sha256"),
        (set_to(*INPUT, "gamma", value=2.2), "gamma: nothing of this name is known"),
        (set_to(*PICTURE, "decoded", "width", value=10**12), "decoded.width"),
        (set_to(*PICTURE, "decoded", value=None), "either an error or what it is decoded to"),
        (set_to(*PICTURE, "error", value={"kind": "damaged"}), "either an error or what"),
        (set_to(*PICTURE, "error", value={"kind": "odd"}), "error.kind"),
        (set_to(*PICTURE, "logits", value=[1.0]), "'jpeg-baseline' has not a logit for each"),
        (set_to(*PICTURE, "logits", 0, value=float("nan")), "logits.0: it must be a number, and"),
        (set_to(*PICTURE, "name", value="jpeg-444-odd"), "two pictures have the same name"),
        (set_to(*INPUT, "file", value=None), "has logits, but no file of the network's input"),
        (set_to("network", "tolerance", value=0), "network.tolerance"),
        (set_to(*INPUT, "sha256", value="abc"), "it must be text of the form ^[0-9a-f]{64}$"),
        (
            set_to("network", "classes", value=[]),
            "network.classes: its length must be at least 1, not 0",
        ),
        (
            set_to("network", "classes", value=["a"] * 1001),
            "its length must be at most 1000, not 1001",
        ),
        (set_to("pictures", value=[]), "pictures"),
        (set_to("pictures", value={}), "pictures"),
        (
            set_to("format_version", value=3),
            "format version 3, but this fleetnet reads version 2; update fleetnet",
        ),
        (
            set_to("format_version", value=1),
            "format version 1, but this fleetnet reads version 2; take the set that comes with it",
        ),
        (set_to("rejection", value=None), "rejection"),
        (set_to("rejection", "cases", value=[]), "rejection.cases: its length must be at least 1"),
        (set_to("rejection", "tolerance", value=0), "rejection.tolerance"),
        (set_to(*CASE, "score", value="beauty"), "rejection.cases.0.score: it must be 'energy'"),
        (set_to(*CASE, "threshold", value=float("nan")), "rejection.cases.0.threshold"),
        (set_to(*CASE, "threshold", value="NaN"), "rejection.cases.0.threshold"),
        (set_to(*CASE, "temperature", value=0), "rejection.cases.0.temperature"),
        (set_to(*CASE, "scores", 0, value="many"), "rejection.cases.0.scores.0"),
        (set_to(*CASE, "scores", value=[1.0]), "'energy' has not a score and a decision for each"),
        (set_to(*CASE, "rejected", 0, value=1), "rejection.cases.0.rejected.0"),
        (set_to(*CASE, "name", value="max-logit"), "two cases of rejection have the same name"),
        (set_to(*CASE, "host", value="x"), "host: nothing of this name is known"),
        (set_to(*ODD, "logits", 0, value=[0.0]), "'energy-odd' has not a logit for each class"),
        (set_to("format_version", value="9" * 10**5), "format version unknown, but this fleetnet"),
        (set_to("format", value="other"), "does not describe a Fleetnet conformance set"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, change: Change, words: str) -> None:
    values = json.loads(TEXT)
    change(values)
    assert words in refusal(tmp_path, json.dumps(values))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", "9" * 10_000])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    assert "is not valid JSON" in refusal(tmp_path, text)


def test_a_folder_that_is_no_set_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FleetnetError, match="is no conformance set: that is a folder with"):
            ConformanceSet.load(folder)


def test_a_gigantic_description_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / DESCRIPTION).open("wb") as file:
        file.truncate(MAX_DESCRIPTION_BYTES + 1)
    with pytest.raises(FleetnetError, match="is larger than 16 MiB"):
        ConformanceSet.load(tmp_path)


def test_it_is_written_as_it_is_read() -> None:
    assert ConformanceSet.load().description.to_json() == TEXT


@pytest.mark.parametrize("kind", get_args(Kind))
def test_errors_are_known_by_their_own_word(kind: Kind) -> None:
    assert kind_of(ImageError("whatever it says", code=kind)) == kind


def test_an_error_of_another_code_is_damage() -> None:
    assert kind_of(ImageError("the file is empty")) == "damaged"


def test_what_is_cut_off_may_be_called_damaged() -> None:
    assert fits("damaged", "truncated")
    assert fits("truncated", "truncated")
    assert not fits("truncated", "damaged")
    assert not fits("damaged", "too-large")
