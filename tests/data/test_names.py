"""Names of classes that look like a slip."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.check import check
from fleetnet.data.findings import OddNames
from fleetnet.data.names import odd_names
from fleetnet.data.sources import SourceOptions, open_source
from listed import Listed
from samples import make_folder

NFC, NFD = "caf\u00e9", "cafe\u0301"


def found(*names: str, from_a_file: bool = False) -> list[OddNames]:
    source = Listed([(label,) for label in range(len(names))])
    source.classes = names
    source.spec = {"classes": "names.txt"} if from_a_file else {}
    return list(odd_names(source))


def one(*names: str) -> OddNames:
    (odd,) = found(*names)
    return odd


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (("Cat", "cat", "dog"), "upper and lower case"),
        (("STRASSE", "straße"), "upper and lower case"),  # as casefold has it
        ((NFC, NFD), "the form of their Unicode"),
        (("big cat", "big  cat"), "white space"),
        (("big cat", "big cat\t"), "white space"),
        (("Big_cat", "big_cat\u00a0"), "white space and upper and lower case"),
    ],
)
def test_names_that_are_alike(names: tuple[str, ...], difference: str) -> None:
    odd = next(odd for odd in found(*names) if "differ" in odd.reason)
    assert odd.reason.endswith(f"differ only in {difference}")
    assert odd.wrong
    assert set(odd.names) == set(names) - {"dog"}


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (("cat", '"cat"'), "quotes"),
        (("cat", "'cat'"), "quotes"),
        (("cat", "cat\u200b"), "characters that cannot be seen"),
        (("cat", "\ufeffcat"), "characters that cannot be seen"),
        (("cat", " cat"), "white space"),
    ],
)
def test_an_odd_name_is_reported_without_its_twin_too(
    names: tuple[str, str], difference: str
) -> None:
    alike, alone = found(*names)
    assert alike.reason.endswith(f"differ only in {difference}")
    assert (alike.wrong, alone.wrong) == (True, False)
    assert one(names[1], "dog") == alone
    assert alone.names == names[1:]


def test_forms_of_unicode_can_be_told_apart_in_the_message() -> None:
    assert one(NFC, NFD).reason.startswith("'cafe\\u0301' and 'caf\\xe9' differ")
    assert "'cat' and 'cat\\u200b' differ" in found("cat", "cat\u200b")[0].reason


@pytest.mark.parametrize(
    "names",
    [
        ("cat", "dog", "Dog fish"),
        ("A", "a", "B", "b", "0", "1"),  # characters to be read
        ("12", "1a", "ff"),  # codes
        ("\u0645\u06cc\u200c\u062e", "x"),  # a joiner that Persian is written with
        ("none", "na", "Nan", "5.5", "v1.0", "'n roll", "don't", "a'"),
        tuple(map(str, range(20))),
        ("000", "001", "002"),
    ],
)
def test_names_that_are_as_they_should_be(names: tuple[str, ...]) -> None:
    assert found(*names) == []


def test_one_number_in_two_classes() -> None:
    odd = one("01", "1", "007")
    assert odd == OddNames(("01", "1"), "'01' and '1' are one number in different classes", False)
    same, fractions = found("1", "1.0")
    assert same.wrong
    assert "as pandas does" in fractions.reason


def test_whole_numbers_as_pandas_writes_them() -> None:
    odd = one("0.0", "1.0", "2.0", "3.0")
    assert odd.reason.startswith("'0.0', '1.0', '2.0' and 1 more: a whole number written as a")
    assert not odd.wrong


def test_words_among_numbers() -> None:
    odd = one("0", "1", "cat")
    assert odd.reason.startswith("'cat' beside '0': words among numbers")
    assert not odd.wrong


@pytest.mark.parametrize("name", ["nan", "NaN", "None", "null", "NULL", "NA", "#N/A", "<NA>"])
def test_missing_labels_name_their_images(tmp_path: Path, name: str) -> None:
    folder = make_folder(tmp_path / "d", 6, ("circle", "square"))
    rows = [
        f"{sample.name},{name if number > 7 else sample.name[:6]}"
        for number, sample in enumerate(open_source(str(folder)).samples)
    ]
    (folder / "table.csv").write_text("\n".join(["image,label", *rows]))
    (odd,) = odd_names(open_source(str(folder / "table.csv")))
    assert odd == OddNames(
        (name,),
        f"'{name}' is how a missing label is written: 4 images (square/002.jpg, square/003.png, "
        "square/004.jpg, …)",
        wrong=True,
    )


def test_names_of_a_file_were_chosen(tmp_path: Path) -> None:
    (odd,) = found("Cardigan", "cardigan", "None", from_a_file=True)
    assert not odd.wrong
    folder = make_folder(tmp_path / "d", 2, ("circle", "square"))
    (tmp_path / "names.txt").write_text("Cardigan\ncardigan\n")
    (folder / "list.txt").write_text("circle/000.jpg 0\nsquare/000.jpg 1\n")
    options = SourceOptions(classes=str(tmp_path / "names.txt"))
    assert not odd_names(open_source(str(folder / "list.txt"), options=options))[0].wrong


def test_the_check_of_data_reports_odd_names(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 4, ("circle", "square"))
    (folder / "square").rename(folder / "Circle")
    report = check(open_source(str(folder)), near=None)
    line = "'Circle' and 'circle' differ only in upper and lower case"
    assert report.wrong == [f"class names: {line}"]
    (odd,) = report.to_json()["odd_names"]
    assert odd == {"names": ("Circle", "circle"), "reason": line, "wrong": True}


def test_many_odd_names_are_counted(tmp_path: Path) -> None:
    names = [f"{first}{second}" for second in "abcdefgh" for first in "xX"]
    folder = make_folder(tmp_path / "d", 2, ("circle",))
    for name in names:
        (folder / name).mkdir()
        for number in range(2):
            (folder / name / f"{number}.jpg").write_bytes(f"{name}{number}".encode())
    wrong = check(open_source(str(folder)), near=None).wrong
    assert wrong[-1] == "class names: 5 more like these"
    assert len([line for line in wrong if line.startswith("class names")]) == 4


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8, unique=True))
def test_any_text_can_be_checked_as_a_name(names: list[str]) -> None:
    for odd in found(*names):
        assert set(odd.names) <= set(names)
        assert odd.reason.isprintable()


@given(st.text(st.characters(categories=["L", "N"]), min_size=2, max_size=8))
def test_a_name_beside_itself_in_another_case_is_found(name: str) -> None:
    upper, lower = name.upper(), name.lower()
    if upper != lower and upper.casefold() == lower.casefold():
        assert any(odd.wrong for odd in found(upper, lower))
