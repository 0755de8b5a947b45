import json
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetnet.data import alike
from fleetnet.data.check import check
from fleetnet.data.findings import ClassCount, Report, imbalance
from fleetnet.data.sources import Sample, SplitName, open_source
from fleetnet.errors import DataError, ImageError
from pictures import EVERY
from samples import draw, encode, make_folder


class Made:
    """A source of images in memory: name, labels and bytes of each."""

    description = "made"

    def __init__(
        self,
        images: Sequence[tuple[str, tuple[int, ...], bytes]],
        splits: dict[str, SplitName] | None = None,
        multi_label: bool = False,
    ) -> None:
        self.spec: dict[str, str] = {}
        self.shards = None
        self.classes: tuple[str, ...] = ("a", "b", "c")
        self.multi_label = multi_label
        self.samples = [
            Sample(name, labels, (splits or {}).get(name)) for name, labels, _ in images
        ]
        self.content = [data for _, _, data in images]
        self.threads: set[int] = set()

    def read(self, index: int) -> bytes:
        self.threads.add(threading.get_ident())
        if not self.content[index]:
            raise ImageError("the file is empty")
        return self.content[index]

    def size(self, index: int) -> int | None:
        return len(self.content[index])


def pictures(count: int, kind: str = "circle", seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [encode(draw(kind, rng, (300, 260)), "PNG") for _ in range(count)]


def names_of(report: Report) -> list[tuple[str, ...]]:
    return [group.names for group in report.duplicates]


def test_clean_data_have_no_findings(shapes: Path) -> None:
    done: list[int] = []
    report = check(open_source(str(shapes)), size=64, advance=done.append)
    assert report.wrong == []
    assert report.classes == tuple(
        ClassCount(name, 12, 9, 3) for name in ("circle", "square", "stripes")
    )
    assert sum(done) == report.images == 36
    assert (report.formats, report.modes) == ({"JPEG": 27, "PNG": 9}, {"RGB": 36})
    assert report.sizes is not None
    assert (report.sizes.width.least, report.sizes.width.most) == (96, 96)
    assert report.sizes.short_side.median == 80
    assert report.sizes.aspect_ratio.median == pytest.approx(1.2)
    assert report.sizes.below_input == 0
    assert report.sizes.total_bytes == sum(file.stat().st_size for file in shapes.glob("*/*"))
    assert not report.unreadable
    assert not report.duplicates
    assert not report.blank
    assert not report.own_split
    assert report.imbalance["majority_share"] == pytest.approx(1 / 3)


def test_images_smaller_than_the_input_are_counted(shapes: Path) -> None:
    sizes = check(open_source(str(shapes)), near=None, size=81).sizes
    assert sizes is not None
    assert sizes.below_input == 36


def test_identical_files_within_and_across_classes_and_the_split() -> None:
    one, two, three, four = pictures(4)
    images = [
        ("t/a/1", (0,), one),
        ("t/a/2", (0,), one),
        ("t/b/3", (1,), two),
        ("t/b/0", (1,), pictures(1, seed=9)[0]),
        ("v/a/4", (0,), two),
        ("v/b/5", (1,), three),
        ("v/c/6", (2,), four),
    ]
    splits: dict[str, SplitName] = {
        name: "train" if name[0] == "t" else "val" for name, *_ in images
    }
    report = check(Made(images, splits))
    within, across = report.duplicates
    assert within.names == ("t/a/1", "t/a/2")
    assert (within.across_classes, within.across_split) == (False, False)
    assert across.names == ("t/b/3", "v/a/4")
    assert (across.across_classes, across.across_split) == (True, True)
    assert report.own_split
    assert report.wrong == [
        "1 group of identical images with different labels",
        "1 group of identical images both trained and held out",
    ]
    assert report.classes == (
        ClassCount("a", 3, 2, 1),
        ClassCount("b", 3, 2, 1),
        ClassCount("c", 1, 0, 1),
    )


def test_copies_of_test_images_are_wrong_where_they_train() -> None:
    one, two, three, four = pictures(4)
    images = [
        ("t/a/1", (0,), one),
        ("t/a/2", (0,), two),
        ("t/a/3", (0,), pictures(1, seed=8)[0]),
        ("t/b/1", (1,), three),
        ("t/b/2", (1,), pictures(1, seed=9)[0]),
        ("v/a/1", (0,), four),
        ("x/a/1", (0,), one),
        ("x/a/2", (0,), four),
    ]
    sides: dict[str, SplitName] = {"t": "train", "v": "val", "x": "test"}
    report = check(Made(images, {name: sides[name[0]] for name, *_ in images}), near=None)
    assert report.classes[:2] == (ClassCount("a", 6, 3, 1, 2), ClassCount("b", 2, 2, 0, 0))
    assert [(group.names, group.across_split) for group in report.duplicates] == [
        (("t/a/1", "x/a/1"), True),
        (("v/a/1", "x/a/2"), False),
    ]
    assert report.wrong == ["1 group of identical images both trained and in the test split"]
    assert report.imbalance["majority_share"] == pytest.approx(4 / 6)


def test_one_class_is_wrong_for_training() -> None:
    images = [(f"a/{n}", (0,), data) for n, data in enumerate(pictures(4))]
    source = Made(images)
    source.classes = ("a",)
    (line,) = check(source, near=None).wrong
    assert "has only one class ('a'): a classifier needs at least two" in line


def test_duplicates_on_one_side_of_the_split_are_listed_but_no_finding() -> None:
    images = [(f"{label}/{n}", (label,), data) for label in (0, 1, 2)
              for n, data in enumerate(pictures(2, seed=label) * 2)]  # fmt: skip
    report = check(Made(images))
    assert len(report.duplicates) == 6
    assert all(len(group.names) == 2 for group in report.duplicates)
    assert not any(group.across_classes or group.across_split for group in report.duplicates)
    assert report.wrong == []


def test_near_duplicates_are_marked_and_the_worst_come_first() -> None:
    rng = np.random.default_rng(8)
    sheep, goat = (draw("circle", rng, (300, 260)) for _ in range(2))
    small = sheep.resize((200, 170), Image.Resampling.BICUBIC)
    images = [
        ("t/a/goat.png", (0,), encode(goat, "PNG")),
        ("t/a/goat.jpg", (0,), encode(goat, "JPEG")),
        ("t/a/sheep.png", (0,), encode(sheep, "PNG")),
        ("t/a/again.png", (0,), encode(sheep, "PNG")),
        ("v/b/small.jpg", (1,), encode(small, "JPEG")),
        ("t/c/other", (2,), pictures(1, "stripes")[0]),
    ]
    splits: dict[str, SplitName] = {
        name: "train" if name[0] == "t" else "val" for name, *_ in images
    }
    near = check(Made(images, splits)).near_duplicates
    assert near is not None
    # Of the two identical files only the first is compared.
    assert [set(pair.names) for pair in near.pairs] == [
        {"t/a/sheep.png", "v/b/small.jpg"},
        {"t/a/goat.png", "t/a/goat.jpg"},
    ]
    assert [(pair.across_classes, pair.across_split) for pair in near.pairs] == [
        (True, True),
        (False, False),
    ]
    assert all(pair.distance is not None and pair.distance <= 4 for pair in near.pairs)
    assert near.complete
    report = check(Made(images, splits), near=None)
    assert report.near_duplicates is None
    assert names_of(report) == [("t/a/sheep.png", "t/a/again.png")]


def test_blank_images_are_named_and_are_nobodys_near_duplicates() -> None:
    blank = [encode(Image.new("RGB", (60 + n, 60), (n, n, n)), "PNG") for n in range(4)]
    images = [(f"{n}", (n % 3,), data) for n, data in enumerate(blank + pictures(5))]
    report = check(Made(images))
    assert report.blank == ("0", "1", "2", "3")
    assert report.near_duplicates is not None
    assert not any(set(pair.names) & set(report.blank) for pair in report.near_duplicates.pairs)


def test_unreadable_images_are_named_with_the_reason() -> None:
    good = pictures(6)
    images = [
        (f"{n}", (n % 3,), data) for n, data in enumerate([*good, b"junk", b"", good[0][:99]])
    ]
    report = check(Made(images))
    reasons = {entry.name: entry.reason for entry in report.unreadable}
    assert list(reasons) == ["6", "7", "8"]
    assert reasons["6"] == "not an image in a known format"
    assert reasons["7"] == "the file is empty"
    assert reasons["8"].startswith("damaged image")
    assert report.wrong == ["3 images cannot be read"]
    assert sum(report.formats.values()) == 6


def test_a_decoder_that_is_not_installed_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heic = next(file.data for file in EVERY if file.name == "heic")
    files = [*pictures(6), b"junk", heic, heic]
    report = check(Made([(f"{n}", (n % 3,), data) for n, data in enumerate(files)]), near=None)
    assert report.wrong == [
        "3 images cannot be read",
        "2 images: HEIC needs pillow-heif: pip install 'fleetnet[heif]'",
    ]


def deep(bits: int, seed: int = 0, kind: str = "PNG") -> bytes:
    samples = np.random.default_rng(seed).integers(0, 2**bits, (50, 60)).astype(np.uint16)
    samples[0, 0] = 2**bits - 1
    return encode(Image.fromarray(samples), kind)


@pytest.mark.parametrize(
    ("used", "setting"), [(8, 8), (9, 10), (11, 12), (12, 12), (13, 14), (14, 14)]
)
def test_images_that_use_fewer_than_sixteen_bits_are_reported(used: int, setting: int) -> None:
    files = [deep(used, 1), deep(used, 2, "TIFF"), deep(8, 3), *pictures(3)]
    images = [(f"{n}", (n % 3,), data) for n, data in enumerate(files)]
    report = check(Made(images), near=None)
    assert report.unused_bits is not None
    assert (report.unused_bits.images, report.unused_bits.used) == (3, used)
    assert report.wrong == [
        f"3 images of 16 bits use {used} bits only (no sample above {2**used - 1}) and look "
        f"nearly black: set input.sample_bits={setting} in training"
    ]
    told = check(Made(images), near=None, sample_bits=setting)
    assert (told.unused_bits, told.wrong) == (None, [])


def test_a_dark_image_among_bright_ones_is_not_reported() -> None:
    files = [deep(16, 1), deep(10, 2), deep(15, 3), *pictures(3)]
    report = check(Made([(f"{n}", (n % 3,), data) for n, data in enumerate(files)]), near=None)
    assert (report.unused_bits, report.wrong) == (None, [])


def test_formats_that_state_their_bits_are_not_reported() -> None:
    samples = np.random.default_rng(0).integers(0, 4096, (50, 60)).astype(">u2")
    said = b"P5 60 50 4095\n" + samples.tobytes()
    report = check(Made([(f"{n}", (n % 3,), said) for n in range(6)]), near=None)
    assert report.modes == {"16-bit": 6}
    assert report.unused_bits is None
    assert report.blank == ()


def test_a_report_without_any_readable_image() -> None:
    report = check(Made([(f"{n}", (n % 3,), b"junk %d" % n) for n in range(6)]))
    assert report.sizes is None
    assert report.wrong == ["6 images cannot be read"]
    assert report.near_duplicates is not None
    assert report.near_duplicates.pairs == ()


def test_data_that_cannot_be_split_are_checked_all_the_same() -> None:
    images = [(f"{n}", (min(n, 2),), data) for n, data in enumerate(pictures(5))]
    report = check(Made(images))
    assert report.split_error is not None
    assert "'a' has a single image" in report.split_error
    assert report.wrong == [report.split_error]
    assert [(entry.images, entry.train, entry.val) for entry in report.classes] == [
        (1, 0, 0),
        (1, 0, 0),
        (3, 0, 0),
    ]


def test_multi_label_data_count_every_label() -> None:
    one, two, three = pictures(3)
    images = [
        ("1", (0, 1), one),
        ("2", (1, 0), one),
        ("3", (), two),
        ("4", (2,), two),
        ("5", (0, 1, 2), three),
    ]
    splits: dict[str, SplitName] = {name: "train" if name < "4" else "val" for name, *_ in images}
    report = check(Made(images, splits, multi_label=True))
    assert [entry.images for entry in report.classes] == [3, 3, 2]
    assert [group.across_classes for group in report.duplicates] == [False, True]


def test_very_many_near_duplicates_stop_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alike, "MAX_PAIRS", 7)
    picture = draw("circle", np.random.default_rng(0), (120, 120))
    images = [(f"{n}", (n % 3,), encode(picture, "JPEG", quality=95 - n)) for n in range(9)]
    near = check(Made(images)).near_duplicates
    assert near is not None
    assert len(near.pairs) == 7
    assert not near.complete


@pytest.mark.parametrize("workers", [1, 3, None])
def test_the_number_of_threads_changes_nothing(shapes: Path, workers: int | None) -> None:
    source = open_source(str(shapes))
    assert check(source, workers=workers) == check(source, workers=2)


def test_only_a_few_images_are_in_memory_at_a_time() -> None:
    source = Made([(f"{n}", (n % 3,), data) for n, data in enumerate(pictures(40))])
    source.size = lambda index: index  # type: ignore[method-assign]  # the split reads none
    read: list[int] = []
    original = source.read

    def counted(index: int) -> bytes:
        read.append(index)
        return original(index)

    source.read = counted  # type: ignore[method-assign]
    ahead: list[int] = []
    done: list[int] = []

    def advance(count: int) -> None:
        done.append(count)
        ahead.append(len(read) - len(done))

    check(source, workers=2, near=None, advance=advance)
    assert max(ahead) <= 6


def test_errors_other_than_image_errors_are_raised() -> None:
    source = Made([(f"{n}", (n % 3,), data) for n, data in enumerate(pictures(6))])
    source.content.pop()
    with pytest.raises(IndexError):
        check(source)


@pytest.mark.parametrize("near", [-1, 13])
def test_distances_out_of_range_are_refused(shapes: Path, near: int) -> None:
    with pytest.raises(DataError, match="near must be from 0 to 12"):
        check(open_source(str(shapes)), near=near)


def test_imbalance_figures() -> None:
    even = imbalance([ClassCount(name, 10, 0, 0) for name in "abcd"])
    assert even["ratio"] == 1
    assert even["effective_classes"] == pytest.approx(4)
    skewed = imbalance([ClassCount("many", 97, 0, 0), ClassCount("few", 3, 0, 0)])
    assert (skewed["largest"], skewed["smallest"]) == ("many", "few")
    assert skewed["majority_share"] == 0.97
    assert 1 < skewed["effective_classes"] < 1.2
    assert imbalance([ClassCount("some", 5, 0, 0), ClassCount("none", 0, 0, 0)])["ratio"] is None


def test_the_report_is_json(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 4)
    shutil.copy(folder / "circle" / "000.jpg", folder / "square" / "copy.jpg")
    report = check(open_source(str(folder)), sheets=tmp_path / "out")
    values = json.loads(json.dumps(report.to_json()))
    assert values["format"] == "fleetnet-data-check"
    assert values["duplicates"][0]["names"] == ["circle/000.jpg", "square/copy.jpg"]
    assert values["sheets"]["circle"] == "0-circle.jpg"
    assert values["wrong"] == report.wrong
