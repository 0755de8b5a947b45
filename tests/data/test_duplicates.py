from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.duplicates import END, exact_groups
from fleetnet.data.sources import ElpvSource, open_source
from listed import Listed, ListedWithEnds
from samples import make_folder

MAKERS = [Listed, ListedWithEnds]


def first_of_each(contents: list[bytes | None]) -> list[int]:
    return [
        index if content is None else contents.index(content)
        for index, content in enumerate(contents)
    ]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("sized", [True, False])
@given(contents=st.lists(st.none() | st.binary(max_size=2), min_size=1, max_size=40))
def test_groups_are_the_first_of_the_same_bytes(
    make: Callable[..., Listed], sized: bool, contents: list[bytes | None]
) -> None:
    source = make([(0,)] * len(contents), contents, sized=sized)
    counts: list[int] = []
    groups = exact_groups(source, counts.append)
    assert groups.tolist() == first_of_each(contents)
    assert sum(counts) == len(contents)


def test_only_images_that_share_a_size_are_read() -> None:
    source = Listed([(0,)] * 5, [b"1", b"22", b"333", b"2x", b"4444"])
    exact_groups(source)
    assert sorted(source.reads) == [1, 3]


def test_only_images_that_share_an_end_are_read_whole() -> None:
    end = bytes(END)
    contents = [b"a" + end, b"b" + end, b"ab" + end[2:] + b"c", b"a" + end, b"x"]
    source = ListedWithEnds([(0,)] * 5, contents)
    assert exact_groups(source).tolist() == [0, 1, 2, 0, 4]
    assert sorted(source.reads) == [0, 1, 3]


def test_shards_are_read_each_by_one_thread_in_order() -> None:
    contents: list[bytes | None] = [bytes([number % 7]) for number in range(60)]
    shards = np.repeat(np.arange(6), 10)
    source = Listed([(0,)] * 60, contents, sized=False, shards=shards)
    assert exact_groups(source).tolist() == first_of_each(contents)
    for shard in range(6):
        of_shard = [index for index in source.reads if shards[index] == shard]
        assert of_shard == sorted(of_shard)
    empty = Listed([(0,)] * 60, shards=shards)
    assert exact_groups(empty).tolist() == list(range(60))


def test_copies_in_a_folder_are_found(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 3)
    (folder / "square" / "copy.jpg").write_bytes((folder / "circle" / "001.jpg").read_bytes())
    (folder / "square" / "gone.jpg").symlink_to(tmp_path / "nothing")
    source = open_source(str(folder))
    names = [sample.name for sample in source.samples]
    groups = exact_groups(source)
    joined = {names[n]: names[g] for n, g in enumerate(groups) if n != g}
    assert joined == {"square/copy.jpg": "circle/001.jpg"}


def test_elpv_has_no_image_twice() -> None:
    assert np.array_equal(exact_groups(ElpvSource()), np.arange(2624))
