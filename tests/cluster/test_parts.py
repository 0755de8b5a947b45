import json
import os
from pathlib import Path

import numpy as np
import pytest

from fleetnet.cluster.images import Broken, images_of
from fleetnet.cluster.parts import Part, parts_of
from fleetnet.errors import DataError, ImageError
from fleetnet.image_files import find_images
from fleetnet.left_out import LeftOut
from samples import draw, encode, make_folder
from tars import Members, shard


def named(count: int, suffix: str = "jpg") -> Members:
    rng = np.random.default_rng(3)
    return [(f"{number:03d}.{suffix}", encode(draw("circle", rng))) for number in range(count)]


def plan(*sources: str | Path, per_part: int = 10) -> list[Part]:
    return list(parts_of([str(source) for source in sources], per_part, LeftOut()))


def names(parts: list[Part], base: str = "") -> list[str]:
    return [name for part in parts for name, _ in images_of(part, base)]


def refusal(image: object) -> str:
    assert isinstance(image, Broken)
    with pytest.raises(ImageError) as raised:
        image.read(1)
    return str(raised.value)


def test_loose_images_are_those_that_prediction_finds(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "shapes", images=5)
    parts = plan(folder, per_part=4)
    assert [len(part.files) for part in parts] == [4, 4, 4, 3]
    assert names(parts) == list(find_images([str(folder)]))
    several = [str(folder / "circle"), str(folder / "square" / "*.png"), str(folder / "nope.jpg")]
    with pytest.raises(DataError, match=r"nope\.jpg does not exist"):
        plan(*several)
    assert names(plan(*several[:2])) == list(find_images(several[:2]))


def test_paths_are_relative_to_the_folder_they_were_typed_in(tmp_path: Path) -> None:
    make_folder(tmp_path / "shapes", images=1)
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        (part,) = plan("shapes")
    finally:
        os.chdir(here)
    found = list(images_of(part, str(tmp_path)))
    assert [name for name, _ in found] == [
        f"shapes/{c}/000.jpg" for c in ("circle", "square", "stripes")
    ]
    assert all(Path(str(image)).is_file() for _, image in found)


def test_a_name_that_is_not_utf_8_stays_what_it_is(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    try:
        (tmp_path / name).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    (part,) = plan(tmp_path)
    assert Part.from_json(part.to_json()) == part
    assert names([part]) == [str(tmp_path / name)]


def test_a_tar_file_needs_no_labels(tmp_path: Path) -> None:
    members = named(3)
    shard(tmp_path / "0.tar", [("readme.txt", b"x"), *members, ("000.json", b"{}")])
    shard(tmp_path / "1.tar", named(2, "JPG"))
    parts = plan(tmp_path)
    assert [part.kind for part in parts] == ["tar", "tar"]
    found = list(images_of(parts[0], ""))
    assert found == [(f"{tmp_path}/0.tar/{name}", content) for name, content in members]
    assert plan(tmp_path / "{0,1}.tar") == parts
    assert len(names(parts)) == 5


def test_a_damaged_tar_file_gives_what_lies_before_the_damage(tmp_path: Path) -> None:
    whole = shard(tmp_path / "0.tar", named(3))
    second = whole.read_bytes().index(b"001.jpg")
    whole.write_bytes(whole.read_bytes()[: second + 700])
    found = list(images_of(plan(whole)[0], ""))
    assert found[0] == (f"{whole}/000.jpg", named(1)[0][1])
    assert found[-1].name == str(whole)
    assert "damaged" in refusal(found[-1].image)
    (tmp_path / "1.tar").write_bytes(b"\x1f\x8b and so on")
    ((name, image),) = images_of(plan(tmp_path / "1.tar")[0], "")
    assert name == str(tmp_path / "1.tar")
    assert "compressed" in refusal(image)


def test_an_empty_member_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    shard(tmp_path / "0.tar", [("a.jpg", b""), *named(1)])
    empty, good = images_of(plan(tmp_path)[0], "")
    assert refusal(empty.image) == "the file is empty"
    assert good.image == named(1)[0][1]


def test_parquet_needs_no_labels(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    contents = [content for _, content in named(3)]
    table = pa.table({"image": [{"bytes": one, "path": None} for one in [*contents, None]]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    (part,) = plan(tmp_path)
    found = list(images_of(part, ""))
    assert [name for name, _ in found] == [f"{tmp_path}/a.parquet#{row}" for row in range(4)]
    assert [image for _, image in found[:3]] == contents
    assert "no bytes" in refusal(found[3].image)
    (tmp_path / "b.parquet").write_bytes(b"no Parquet")
    ((_, image),) = images_of(plan(tmp_path / "b.parquet")[0], "")
    assert "no Parquet file" in refusal(image)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("-", "standard input"),
        ("nothing/there", "does not exist"),
        ("nothing/*.jpg", "no images match"),
        ("nothing/{0..3}.tar", "does not exist"),
        ("empty", "no images in the folder"),
    ],
)
def test_a_source_without_images_is_refused(tmp_path: Path, source: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=words):
        plan(source if source == "-" else tmp_path / source)


def test_a_part_is_told_by_what_is_in_it(tmp_path: Path) -> None:
    one = shard(tmp_path / "0.tar", named(2))
    before = plan(one)[0].to_json()
    assert json.loads(before) == ["tar", [[str(one), one.stat().st_size]]]
    shard(one, named(4))
    assert plan(one)[0].to_json() != before
