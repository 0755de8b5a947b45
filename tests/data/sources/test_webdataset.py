import json
import multiprocessing
import pickle
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.duplicates import exact_groups
from fleetnet.data.sources import Sample, SourceOptions, WebDatasetSource, notes_of, open_source
from fleetnet.data.splits import split
from fleetnet.errors import DataError, ImageError
from fleetnet.images import decode
from listed import read_all
from samples import draw, encode
from tars import Members, pairs, shard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        shard(tmp_path / "d" / f"{number:03d}.tar", pairs(range(number * 4, number * 4 + 4)))
    return tmp_path / "d"


def refuses(path: Path, *words: str, **options: object) -> None:
    with pytest.raises(DataError) as error:
        open_source(str(path), options=SourceOptions(**options))  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_of_shards(folder: Path) -> None:
    source = open_source(str(folder))
    assert isinstance(source, WebDatasetSource)
    assert source.classes == ("0", "1")
    assert len(source.samples) == 12
    assert source.samples[5] == Sample("001.tar/0005.jpg", (1,))
    assert source.shards is not None
    assert source.shards.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for index in (7, 0, 11):
        assert source.read(index) == b"image %d" % index
        assert source.size(index) == len(b"image %d" % index)
    assert source.read_end(10, 2) == b"10"


@pytest.mark.parametrize("pattern", ["{000..002}.tar", "*.tar", "00[0-2].tar", "{000,001,002}.tar"])
def test_patterns(folder: Path, pattern: str) -> None:
    assert len(open_source(str(folder / pattern)).samples) == 12
    assert len(open_source(str(folder / "001.tar")).samples) == 4


def test_a_shard_that_a_pattern_names_must_be_there(folder: Path) -> None:
    with pytest.raises(DataError, match=r"003\.tar does not exist"):
        open_source(str(folder / "{000..003}.tar"))
    with pytest.raises(DataError, match="no files match"):
        open_source(str(folder / "x*.tar"))
    with pytest.raises(DataError, match="more than 100,000 files"):
        open_source(str(folder / "{0..9999999}.tar"))


def test_real_images_in_every_tar_format(tmp_path: Path) -> None:
    image = encode(draw("circle", np.random.default_rng(0)), "PNG")
    name = "a/" + "long" * 60 + "/ü"
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        stem = name if form != tarfile.USTAR_FORMAT else "a/b"
        members = [(f"{stem}.PNG", image), (f"{stem}.txt", b" cat\n"), ("b.png", image),
                   ("b.txt", b"dog")]  # fmt: skip
        source = open_source(str(shard(tmp_path / f"{form}.tar", members, form)))
        assert source.classes == ("cat", "dog")
        assert source.samples[0].name == f"{form}.tar/{stem}.png"
        assert decode(source.read(0)).shape == (80, 96, 3)


def test_labels_in_json(tmp_path: Path) -> None:
    members = [("a.jpg", b"x"), ("a.json", b'{"label": 1, "kind": "dog"}'),
               ("b.jpg", b"y"), ("b.json", b'{"label": 0, "kind": "cat"}')]  # fmt: skip
    path = shard(tmp_path / "a.tar", members)
    assert [sample.label for sample in open_source(str(path)).samples] == [1, 0]
    options = SourceOptions(label_columns=("kind",))
    assert open_source(str(path), options=options).classes == ("cat", "dog")
    refuses(path, "a.json: has no 'knid'", "label_columns=", label_columns=("knid",))


def test_several_labels_in_json(tmp_path: Path) -> None:
    def members(*rows: object) -> Members:
        return [
            member
            for number, row in enumerate(rows)
            for member in (
                (f"{number}.jpg", b"%d" % number),
                (f"{number}.json", json.dumps({"label": row}).encode()),
            )
        ]

    named = shard(tmp_path / "a.tar", members(["dog", "cat"], [], "cat"))
    source = open_source(str(named), options=SourceOptions(multi_label="names"))
    assert [sample.labels for sample in source.samples] == [(0, 1), (), (0,)]
    bits = shard(tmp_path / "b.tar", members([0, 1], [1, 1]))
    source = open_source(str(bits), options=SourceOptions(multi_label="one-hot"))
    assert [sample.labels for sample in source.samples] == [(1,), (0, 1)]
    refuses(named, "0.jpg: has several labels", "multi_label=")
    for value in (True, 1.5, None, {"a": 1}, [[1]]):
        wrong = shard(tmp_path / "c.tar", members(0, value))
        refuses(wrong, "1.jpg: label", "neither a whole number nor a name")


def test_names_of_classes(folder: Path, tmp_path: Path) -> None:
    (folder / "classes.txt").write_text("cat\ndog\nhen\n")
    assert open_source(str(folder)).classes == ("cat", "dog", "hen")
    (tmp_path / "other.txt").write_text("0 Katze\n1 Hund\n")
    options = SourceOptions(classes=str(tmp_path / "other.txt"))
    assert open_source(str(folder), options=options).classes == ("Katze", "Hund")
    (folder / "classes.txt").write_text("cat\n")
    refuses(folder, "0001.jpg", "label 1 is beyond the 1 class of classes.txt")


def test_parts_by_the_names_of_shards(tmp_path: Path) -> None:
    shard(tmp_path / "imagenet-train-000.tar", pairs(range(4)))
    shard(tmp_path / "imagenet-train-001.tar", pairs(range(4, 8)))
    shard(tmp_path / "imagenet-validation-000.tar", [*pairs(range(8, 10)), *pairs(range(1, 2))])
    shard(tmp_path / "imagenet-test-000.tar", pairs(range(10, 12)))
    source = open_source(str(tmp_path))
    assert len(source.samples) == 13
    parts = split(source)
    assert [side.tolist() for side in parts] == [
        [0, 2, 3, 4, 5, 6, 7], [8, 9, 10], [1], [11, 12],
    ]  # fmt: skip
    shard(tmp_path / "extra.tar", pairs(range(20, 22)))
    refuses(tmp_path, "extra.tar says neither train nor val")


def test_training_and_a_test_part(tmp_path: Path) -> None:
    shard(tmp_path / "test-000.tar", pairs(range(8, 10)))
    shard(tmp_path / "train-000.tar", [*pairs(range(8)), *pairs(range(9, 10))])
    alone = split(open_source(str(tmp_path / "train-000.tar")))
    source = open_source(str(tmp_path))
    assert [sample.split for sample in source.samples] == [None] * 9 + ["test"] * 2
    parts = split(source)
    assert (parts.dropped.tolist(), parts.test.tolist()) == ([8], [9, 10])
    assert sorted([*parts.train, *parts.val]) == list(range(8))
    assert sorted([*alone.train, *alone.val]) == list(range(9))


def test_a_test_part_without_labels_is_left_out_and_said(tmp_path: Path) -> None:
    shard(tmp_path / "train-000.tar", pairs(range(8)))
    shard(tmp_path / "test-000.tar", [("8.jpg", b"image 8")])
    source = open_source(str(tmp_path))
    assert len(source.samples) == 8
    (note,) = notes_of(source)
    assert note.startswith("the test split is left out: ")
    assert "test-000.tar" in note


def test_parts_by_folders(tmp_path: Path) -> None:
    shard(tmp_path / "train" / "0.tar", pairs(range(4)))
    shard(tmp_path / "val" / "0.tar", pairs(range(4, 6)))
    source = open_source(str(tmp_path))
    assert [sample.split for sample in source.samples] == ["train"] * 4 + ["val"] * 2
    assert source.samples[4].name == "val/0.tar/0004.jpg"
    assert [sample.split for sample in open_source(str(tmp_path / "val")).samples] == [None] * 2


def test_members_that_are_no_sample_are_ignored(tmp_path: Path) -> None:
    members = [("README", b"hello"), (".hidden.jpg", b"x"), *pairs(range(2)), ("9.cls", b"1")]
    path = shard(tmp_path / "a.tar", members)
    with tarfile.open(path, "a") as tar:
        tar.addfile(folder := tarfile.TarInfo("sub.folder"))
        folder.type = tarfile.DIRTYPE
    assert len(open_source(str(path)).samples) == 2


def test_it_reads_in_other_processes_and_after_pickling(folder: Path) -> None:
    source = open_source(str(folder))
    here = read_all(source)
    assert read_all(pickle.loads(pickle.dumps(source))) == here  # noqa: S301
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(read_all, source).result() == here


def test_copies_are_found_across_shards(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", pairs(range(4)))
    shard(tmp_path / "b.tar", [("x.jpg", b"image 2"), ("x.cls", b"0")])
    assert exact_groups(open_source(str(tmp_path))).tolist() == [0, 1, 2, 3, 2]


def test_compressed_shards_are_refused(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "000.tar")
    refuses(tmp_path / "a.tar.gz", "is compressed", "decompress it")
    (tmp_path / "z").mkdir()
    (tmp_path / "a.tar.gz").rename(tmp_path / "z" / "a.tar.gz")
    refuses(tmp_path / "z", "shards that are compressed (.tar.gz)")
    (tmp_path / "z" / "a.tar.gz").rename(tmp_path / "z" / "b.tar")
    refuses(tmp_path / "z", "b.tar is compressed (gzip)")


@given(st.integers(1, 4 * 2 * 1024 + 511))
def test_a_shard_that_was_cut_anywhere_is_refused(length: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        path = shard(Path(place) / "a.tar", pairs(range(4)))  # 8 members of two blocks, then zeros
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(DataError, match=r"damaged|truncated") as error:
            open_source(str(path))
        assert "a.tar" in str(error.value)


def test_an_empty_shard_and_one_of_junk(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    refuses(tmp_path / "a.tar", "a.tar is no tar file, or is damaged")
    (tmp_path / "a.tar").write_bytes(b"junk" * 1000)
    refuses(tmp_path / "a.tar", "a.tar is no tar file, or is damaged")
    shard(tmp_path / "a.tar", [])
    refuses(tmp_path / "a.tar", "no samples in")


def test_a_header_damaged_in_the_middle_does_not_end_the_shard(folder: Path) -> None:
    content = bytearray((folder / "001.tar").read_bytes())
    content[4 * 1024 + 10] ^= 0xFF
    (folder / "001.tar").write_bytes(content)
    refuses(folder, "001.tar is damaged or truncated at byte 4,096")


@given(st.data())
def test_any_damage_is_one_line_or_none(data: st.DataObject) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        path = shard(Path(place) / "a.tar", pairs(range(3)), tarfile.PAX_FORMAT)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, 7 * 1024))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            source = open_source(str(path))
        except DataError:
            return
        for index in range(len(source.samples)):
            try:
                source.read(index)
            except ImageError:
                continue


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = shard(tmp_path / "a.tar", pairs(range(2)))
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("z.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    refuses(path, "'z.jpg' is a link or no plain file: refused")


def test_huge_members_are_not_read(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", pairs(range(2)))
    claim = tarfile.TarInfo("z.jpg")
    claim.size = 2**40
    path.write_bytes(claim.tobuf() + path.read_bytes())
    refuses(path, "damaged")
    shard(path, [("a.jpg", b"x"), ("a.cls", b"1" * (2**20 + 1))])
    refuses(path, "a.cls: 1,048,577 bytes are no label")


def test_an_image_beyond_the_limit_is_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(str(folder))
    monkeypatch.setattr("fleetnet.data.sources.tar_source.MAX_BYTES", 5)
    with pytest.raises(ImageError, match="larger than"):
        source.read(0)


@pytest.mark.parametrize(
    ("names", "samples"),
    [
        # By WebDataset's rule, which is base_plus_ext of the library webdataset.
        (["a.jpg", "a.cls", "b.jpg", "b.cls"], ["a.jpg", "b.jpg"]),
        (["v1.0/a.jpg", "v1.0/a.cls", "./v1.0/b.jpg", "./v1.0/b.cls"],
         ["v1.0/a.jpg", "./v1.0/b.jpg"]),
        (["a.left.jpg", "a.cls", "b.left.jpg", "b.cls"], ["a.left.jpg", "b.left.jpg"]),
        (["a.jpg", "a.cls", "a.note.txt", "b.jpg", "b.cls"], ["a.jpg", "b.jpg"]),
        # By what their writer will have meant.
        (["img.v1.jpg", "img.v1.cls", "img.v2.jpg", "img.v2.cls"], ["img.v1.jpg", "img.v2.jpg"]),
        (["img.jpg", "img.cls", "img.v2.jpg", "img.v2.cls"], ["img.jpg", "img.v2.jpg"]),
        (["0.5_a.JPG", "0.5_a.CLS", "x.jpg", "x.cls", "0.5_b.jpg", "0.5_b.cls"],
         ["0.5_a.jpg", "x.jpg", "0.5_b.jpg"]),
        (["v1.0/A.b.c.png", "v1.0/A.b.c.cls", "v1.0/A.d.png", "v1.0/A.d.cls"],
         ["v1.0/A.b.c.png", "v1.0/A.d.png"]),
    ],
)  # fmt: skip
def test_dots_in_keys(tmp_path: Path, names: list[str], samples: list[str]) -> None:
    labels = iter(range(9))
    members = [
        (name, b"x" if name.lower().endswith(("jpg", "png")) else b"%d" % next(labels))
        for name in names
    ]
    source = open_source(str(shard(tmp_path / "a.tar", members)))
    assert [sample.name for sample in source.samples] == [f"a.tar/{name}" for name in samples]
    first, *_, last = [content for name, content in members if name.lower().endswith("cls")]
    assert source.classes[source.samples[0].label].encode() == first
    assert source.classes[source.samples[-1].label].encode() == last


def test_a_whole_shard_of_one_name_and_numbers(tmp_path: Path) -> None:
    members = [
        (f"frame.{number:06d}.{kind}", b"x" if kind == "jpg" else b"%d" % (number % 2))
        for number in range(2000)
        for kind in ("jpg", "cls")
    ]
    source = open_source(str(shard(tmp_path / "a.tar", members)))
    assert [sample.label for sample in source.samples] == [0, 1] * 1000


def test_keys_with_dots_that_can_be_read_two_ways_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    shard(path, [("a.v2.jpg", b"x"), ("a.v2.txt", b"dog"), ("a.cls", b"0")])
    refuses(path, "'a.v2' has a label of its own and one of 'a'", "names without other dots")
    shard(path, [("a.v2.jpg", b"x"), ("a.v2.cls", b"1"), ("a.v3.jpg", b"y")])
    refuses(path, "'a' has 2 images; one is expected (a key ends at the first dot)")
    shard(path, [("a.v2.jpg", b"x"), ("a.v2.png", b"y"), ("a.v2.cls", b"1")])
    refuses(path, "'a' has 2 images")
    shard(path, [*pairs(range(2)), ("a.v2.jpg", b"x")])
    refuses(path, "'a' has no label (.cls)")
    shard(path, [("a.v.jpg", b"x"), ("a.v.cls", b"1"), *pairs(range(2)),
                 ("a.v.jpg", b"x"), ("a.v.cls", b"1")])  # fmt: skip
    refuses(path, "the key 'a.v' occurs twice")


def test_samples_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    shard(path, [*pairs(range(2)), ("0000.jpg", b"again"), ("0000.cls", b"1")])
    refuses(path, "the key '0000' occurs twice")
    shard(path, [("a.jpg", b"x"), ("a.png", b"y"), ("a.cls", b"0")])
    refuses(path, "'a' has 2 images")
    shard(path, [("a.jpg", b"x"), ("b.jpg", b"y"), ("b.cls", b"0")])
    refuses(path, "'a' has no label (.cls or .json or .txt)")
    shard(path, [("a.jpg", b"x"), ("a.cls", b"0"), ("b.jpg", b"y"), ("b.txt", b"dog")])
    refuses(path, "'b' has no label (.cls)")
    shard(path, [("a.jpg", b"x"), ("a.json", b"[" * 100_000)])
    refuses(path, "a.json: is damaged")
    shard(path, [("a.jpg", b"x"), ("a.cls", b"\xff\xfe")])
    refuses(path, "a.cls: is damaged")
    shard(path, [("a.jpg", b"x"), ("a.cls", b"")])
    refuses(path, "a.jpg: has no label")
    shard(path, pairs(range(2)))
    shard(tmp_path / "b.tar", [("a.jpg", b"x"), ("a.txt", b"0")])
    refuses(tmp_path, "a.tar has its labels in .cls and")


def test_a_shard_that_changed_or_went_is_an_unreadable_image(folder: Path) -> None:
    source = open_source(str(folder))
    (folder / "000.tar").write_bytes(b"")
    (folder / "001.tar").unlink()
    with pytest.raises(ImageError, match=r"000\.tar is shorter than it was"):
        source.read(0)
    with pytest.raises(ImageError, match="No such file"):
        source.read(4)
    shard(folder / "002.tar", [("a.jpg", b""), ("a.cls", b"0"), ("b.jpg", b"x"), ("b.cls", b"1")])
    with pytest.raises(ImageError, match="the file is empty"):
        open_source(str(folder / "002.tar")).read(0)
