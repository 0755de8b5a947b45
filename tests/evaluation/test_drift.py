"""How far distributions are apart, the bins, the figures of pictures, and the file of all that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from fleetnet.errors import FleetnetError
from fleetnet.evaluation.drift.bins import BINS, GROUPS, bins_of, edges_of, groups_of
from fleetnet.evaluation.drift.divergence import jensen_shannon, stability_index
from fleetnet.evaluation.drift.measured import ENOUGH, rows_measured
from fleetnet.evaluation.drift.reference import NUMBERS, Reference
from fleetnet.evaluation.drift.statistics import PICTURE, measure

some_counts = st.lists(st.integers(0, 1000), min_size=4, max_size=4).filter(any)


@given(some_counts, some_counts)
def test_divergences_are_those_of_scipy(one: list[int], other: list[int]) -> None:
    p, q = np.array(one), np.array(other)
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)
    index = entropy(p + 0.5, q + 0.5) + entropy(q + 0.5, p + 0.5)
    assert stability_index(p, q) == pytest.approx(index, abs=1e-9)


def test_divergences_of_the_same_and_of_nothing_in_common() -> None:
    p, q = np.array([500, 500, 0]), np.array([0, 0, 1000])
    assert jensen_shannon(p, p) == stability_index(p, p) == 0
    assert jensen_shannon(p, q) == pytest.approx(1)
    assert stability_index(p, q) > 10


def test_chance_alone_gives_as_much_as_is_said() -> None:
    generator = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    expected = generator.multinomial(2000, shares)
    found = [stability_index(expected, generator.multinomial(1000, shares)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(9 * (1 / 2000 + 1 / 1000), rel=0.6)
    assert max(found) < 0.1


def test_bins_hold_about_the_same_and_two_are_for_what_lies_outside() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    edges = edges_of(values)
    counts = np.bincount(bins_of(values, edges), minlength=BINS + 2)
    assert counts[0] == counts[-1] == 0
    assert counts[1:-1] == pytest.approx(500, abs=1)
    assert bins_of(np.array([values.min() - 1, values.max() + 1]), edges).tolist() == [0, BINS + 1]


@pytest.mark.parametrize("value", [0.0, 1.0, 224.0, -3.5])
def test_values_that_are_all_the_same_have_three_bins(value: float) -> None:
    edges = edges_of(np.full(50, value))
    less, same, more = value - 0.001, value, value + 0.001
    assert bins_of(np.array([less, same, more]), edges).tolist() == [0, 1, 2]


def test_many_classes_share_groups_of_about_equal_size() -> None:
    assert groups_of(np.array([5, 0, 7])) == (0, 1, 2)
    counts = np.random.default_rng(0).integers(0, 50, 1000)
    groups = np.array(groups_of(counts))
    sums = np.bincount(groups, counts)
    assert len(sums) == GROUPS
    assert sums.max() - sums.min() <= 50
    alone = np.bincount(groups_of(np.zeros(1000, np.int64)))
    assert alone.tolist() == [50] * GROUPS


def picture(side: int = 96) -> Image.Image:
    generator = np.random.default_rng(3)
    small = generator.integers(40, 215, (12, 12, 3), np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def figures(image: Image.Image, width: int = 300, height: int = 200) -> dict[str, float]:
    return dict(zip(PICTURE, measure(np.asarray(image), width, height), strict=True))


def test_each_figure_says_what_its_name_says() -> None:
    image = picture()
    usual = figures(image)
    assert figures(ImageEnhance.Brightness(image).enhance(0.4))["brightness"] == pytest.approx(
        0.4 * usual["brightness"], rel=0.02
    )
    assert figures(ImageEnhance.Contrast(image).enhance(0.3))["contrast"] < 0.4 * usual["contrast"]
    grey = figures(image.convert("L").convert("RGB"))
    assert grey["colourfulness"] == pytest.approx(0, abs=0.1)
    assert usual["colourfulness"] > 10
    blurred = figures(image.filter(ImageFilter.GaussianBlur(4)))
    assert blurred["sharpness"] < 0.7 * usual["sharpness"]
    assert usual["size"] == pytest.approx(60_000**0.5)
    assert usual["aspect"] == 1.5


def test_colourfulness_and_contrast_are_the_published_formulas() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    red, green, blue = (pixels[..., channel].astype(np.float64) for channel in range(3))
    first, second = red - green, (red + green) / 2 - blue
    colour = np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean())
    found = figures(Image.fromarray(pixels))
    assert found["colourfulness"] == pytest.approx(colour, rel=1e-3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert found["contrast"] == pytest.approx(luma.std(), rel=1e-3)
    assert found["brightness"] == pytest.approx(luma.mean(), rel=1e-3)


@pytest.mark.parametrize("side", [1, 2, 3, 47, 97])
def test_pictures_of_any_side_have_figures(side: int) -> None:
    for value in (0, 255):
        found = measure(np.full((side, side, 3), value, np.uint8), 1, 1)
        assert np.isfinite(found).all()
        assert found[1:4] == pytest.approx([0, 0, 0], abs=0.1)


def test_of_very_many_images_enough_are_measured() -> None:
    assert rows_measured(5) == [0, 1, 2, 3, 4]
    many = rows_measured(1_281_167)
    assert len(many) == ENOUGH
    assert many[0] == 0
    assert many[-1] == 1_281_166


def made_up(**changes: Any) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    reference = Reference.of(
        ("a", "b"),
        generator.integers(0, 2, 100),
        {name: generator.normal(size=100) for name in NUMBERS},
        bundle="0" * 64,
        source="made up",
    )
    return {**json.loads(reference.model_dump_json()), **changes}


def test_a_reference_is_written_and_read_again(tmp_path: Path) -> None:
    reference = Reference.model_validate_json(json.dumps(made_up()))
    reference.save(tmp_path / "reference.json")
    assert Reference.load(tmp_path / "reference.json") == reference


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "other"}, "format: it must be 'fleetnet-reference'"),
        ({"format_version": 2}, "format_version"),
        ({"more": 1}, "more: nothing of this name is known"),
        ({"bundle": "../../etc/passwd"}, "bundle"),
        ({"images": 99}, "the counts of 'class' are not those of 99 images"),
        ({"images": -1}, "images: it must be at least 0"),
        ({"classes": ["a"]}, "2 groups for 1 class names"),
        ({"classes": []}, "classes"),
        ({"numbers": {}}, "the statistic 'confidence' is missing"),
        ({"answers": {"groups": [0, 5], "counts": [50, 50]}}, "the groups are not those"),
        ({"answers": {"groups": [0, 10**9], "counts": [50, 50]}}, "answers.groups.1"),
        ({"answers": {"groups": [0, 1], "counts": [10**30, 0]}}, "answers.counts.0"),
    ],
)
def test_what_is_no_reference_is_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    file = tmp_path / "reference.json"
    file.write_text(json.dumps(made_up(**change)))
    with pytest.raises(FleetnetError, match="is no reference as") as refused:
        Reference.load(file)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("edges", "counts"),
    [
        ([2.0, 1.0], [50, 50, 0]),
        ([1.0, 1.0], [50, 50, 0]),
        ([1.0], [50, 25, 25]),
        ([float("nan")], [50, 50]),
        ([float("inf")], [50, 50]),
        ([], [100]),
        ([float(number) for number in range(500)], [0] * 500 + [100]),
    ],
)
def test_bins_that_are_none_are_refused(
    edges: list[float], counts: list[int], tmp_path: Path
) -> None:
    values = made_up()
    values["numbers"]["size"] = {"edges": edges, "counts": counts}
    file = tmp_path / "reference.json"
    file.write_text(json.dumps(values))
    with pytest.raises(FleetnetError, match="is no reference as"):
        Reference.load(file)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[" * 100_000, b"{}", b"null"])
def test_files_of_other_kinds_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "reference.json"
    file.write_bytes(content)
    with pytest.raises(FleetnetError, match="is no reference as"):
        Reference.load(file)
    with pytest.raises(FleetnetError, match="cannot read"):
        Reference.load(tmp_path)


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(FleetnetError, match="larger than 16 MiB"):
        Reference.load(Path("/dev/zero"))
