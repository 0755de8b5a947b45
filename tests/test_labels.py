import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.errors import DataError
from fleetnet.labels import imagenet_classes, read_labels


def test_imagenet_has_its_thousand_classes_in_order() -> None:
    classes = imagenet_classes()
    assert len(classes) == 1000
    assert classes[0] == ("n01440764", "tench, Tinca tinca")
    assert classes[999].name == "toilet tissue, toilet paper, bathroom tissue"
    ids = [entry.wordnet_id for entry in classes]
    assert ids == sorted(set(ids))


def test_imagenets_names_equal_timms() -> None:
    found = importlib.util.find_spec("timm")  # which is not imported: that takes torchvision
    assert found is not None
    assert found.origin is not None
    info = Path(found.origin).parent / "data" / "_info"
    ids = (info / "imagenet_synsets.txt").read_text("utf-8").split()
    lemmas = (info / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines()
    names = dict(line.split("\t", 1) for line in lemmas)
    assert list(imagenet_classes()) == [(wordnet_id, names[wordnet_id]) for wordnet_id in ids]


def test_photographs_are_named_for_them(photos: list[Path]) -> None:
    known = {entry.wordnet_id for entry in imagenet_classes()}
    assert all(photo.name.partition("_")[0] in known for photo in photos)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\nhen\n", ("cat", "dog", "hen")),
        ("0 cat\n1 big dog\n2 hen", ("cat", "big dog", "hen")),
        ("2 hen\n\n0 cat\r\n1\tbig dog\n", ("cat", "big dog", "hen")),
        ("\ufeffcat\ndog\nhen", ("cat", "dog", "hen")),
        ("3 mice\n7 dwarfs\n9 lives", ("3 mice", "7 dwarfs", "9 lives")),
        ("\u732b\n\u72d7\n\u9e21", ("\u732b", "\u72d7", "\u9e21")),
    ],
)
def test_names_are_read_one_a_line_and_with_ids(
    tmp_path: Path, text: str, names: tuple[str, ...]
) -> None:
    (tmp_path / "labels.txt").write_text(text, "utf-8")
    assert read_labels(tmp_path / "labels.txt", 3) == names


def test_wrong_files_of_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_labels(tmp_path / "none.txt", 3)
    file = tmp_path / "labels.txt"
    file.write_text("cat\ndog")
    with pytest.raises(DataError, match="names 2 classes, but the model has 3"):
        read_labels(file, 3)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_labels(file, 3)


@given(st.permutations(range(6)))
def test_ids_may_come_in_any_order(order: list[int]) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(f"{index} class {index}" for index in order))
        file.flush()
        assert read_labels(file.name, 6) == tuple(f"class {index}" for index in range(6))
