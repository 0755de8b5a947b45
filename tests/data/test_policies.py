from collections import Counter
from typing import Any

import numpy as np
import pytest
from peers import declare_torchvision_operators
from PIL import Image

from fleetnet.data import policies
from fleetnet.data.policies import (
    AUTOAUGMENT,
    IMAGENET_POLICY,
    OPERATIONS,
    RANDAUGMENT,
    TRIVIALAUGMENT_WIDE,
    RandAugment,
    Range,
    make_policy,
)
from samples import draw

PICTURE = draw("circle", np.random.default_rng(1), (64, 64))
FILL = (124, 116, 104)


@pytest.fixture(scope="module")
def timms() -> Any:
    declare_torchvision_operators()
    from timm.data import auto_augment

    return auto_augment


@pytest.fixture(scope="module")
def torchvisions() -> Any:
    declare_torchvision_operators()
    from torchvision.transforms import autoaugment

    return autoaugment


def test_randaugment_has_the_papers_operations() -> None:
    assert set(RANDAUGMENT) == {
        "identity", "autocontrast", "equalize", "rotate", "solarize", "color", "posterize",
        "contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        ("rotate", "Rotate"),
        ("shear_x", "ShearX"),
        ("shear_y", "ShearY"),
        ("translate_x", "TranslateXRel"),
        ("translate_y", "TranslateYRel"),
        ("solarize", "SolarizeIncreasing"),
        ("color", "ColorIncreasing"),
        ("contrast", "ContrastIncreasing"),
        ("brightness", "BrightnessIncreasing"),
        ("sharpness", "SharpnessIncreasing"),
    ],
)
def test_randaugment_has_timms_increasing_ranges(timms: Any, ours: str, name: str) -> None:
    space = RANDAUGMENT[ours]
    for level in range(11):
        (theirs,) = timms.LEVEL_TO_ARG[name](level, {"translate_pct": 0.45})
        amount = space.amount(level / 10)
        if space.signed:
            assert abs(theirs - space.centre) == pytest.approx(amount)
        else:
            assert abs(theirs - amount) <= 1


def test_posterize_keeps_from_eight_to_four_bits() -> None:
    """The papers' range; timm's goes on to none, which leaves a black picture."""
    assert [RANDAUGMENT["posterize"].amount(level / 10) for level in (0, 5, 10)] == [8, 6, 4]


def test_trivialaugment_is_torchvisions(torchvisions: Any) -> None:
    theirs = torchvisions.TrivialAugmentWide()._augmentation_space(31)
    names = {
        "Identity": "identity", "AutoContrast": "autocontrast", "Equalize": "equalize",
        "ShearX": "shear_x", "ShearY": "shear_y", "TranslateX": "translate_x_pixels",
        "TranslateY": "translate_y_pixels", "Rotate": "rotate", "Brightness": "brightness",
        "Color": "color", "Contrast": "contrast", "Sharpness": "sharpness",
        "Posterize": "posterize", "Solarize": "solarize",
    }  # fmt: skip
    assert set(names) == set(theirs)
    assert set(names.values()) == set(TRIVIALAUGMENT_WIDE)
    for name, (magnitudes, signed) in theirs.items():
        space = TRIVIALAUGMENT_WIDE[names[name]]
        assert space.signed == signed
        if magnitudes.ndim:
            ours = [space.amount(level / 30) for level in range(31)]
            assert np.abs(np.array(ours) - magnitudes.numpy()).max() <= 1
            if not space.whole:
                assert ours == pytest.approx(magnitudes.tolist())


def test_autoaugment_has_the_papers_sub_policies(timms: Any, torchvisions: Any) -> None:
    spelling = {"shear_x": "ShearX", "autocontrast": "AutoContrast"}
    ours = [
        [(spelling.get(name, name.capitalize()), share, level) for name, share, level in pair]
        for pair in IMAGENET_POLICY
    ]
    original = timms.auto_augment_policy_original({})
    theirs = [
        [(step.name.replace("Original", ""), step.prob, step.magnitude) for step in pair]
        for pair in original
    ]
    assert ours == theirs
    without_levels = {"Equalize", "AutoContrast", "Invert"}
    again = torchvisions.AutoAugment(torchvisions.AutoAugmentPolicy.IMAGENET).policies
    bare = [
        tuple(
            (name, share, None if name in without_levels else level) for name, share, level in pair
        )
        for pair in ours
    ]
    assert bare == again


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        ("rotate", "Rotate"),
        ("shear_x", "ShearX"),
        ("color", "Color"),
        ("contrast", "Contrast"),
        ("sharpness", "Sharpness"),
        ("solarize", "SolarizeIncreasing"),
    ],
)
def test_autoaugment_has_timms_ranges(timms: Any, ours: str, name: str) -> None:
    for level in range(11):
        (theirs,) = timms.LEVEL_TO_ARG[name](level, {})
        tolerance = 1 if ours == "solarize" else 1e-9
        assert abs(abs(theirs) - AUTOAUGMENT[ours].amount(level / 10)) <= tolerance


@pytest.mark.parametrize("ours", ["invert", "equalize", "autocontrast", "posterize", "solarize"])
def test_operations_on_colour_are_timms(timms: Any, ours: str) -> None:
    amount = {"posterize": 5, "solarize": 90}.get(ours, 0)
    function = getattr(timms, {"autocontrast": "auto_contrast"}.get(ours, ours))
    theirs = function(PICTURE, amount) if amount else function(PICTURE)
    assert OPERATIONS[ours](PICTURE, amount, FILL).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("ours", ["translate_x", "translate_y", "rotate"])
@pytest.mark.parametrize("amount", [-0.3, 0.25])
def test_operations_on_geometry_are_timms(timms: Any, ours: str, amount: float) -> None:
    amount = amount * 90 if ours == "rotate" else amount
    function = {"rotate": "rotate", "translate_x": "translate_x_rel"}.get(ours, "translate_y_rel")
    theirs = getattr(timms, function)(
        PICTURE, amount, resample=Image.Resampling.BILINEAR, fillcolor=FILL
    )
    assert OPERATIONS[ours](PICTURE, amount, FILL).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("ours", ["shear_x", "shear_y"])
def test_shear_keeps_the_centre_and_fills_what_comes_in(ours: str) -> None:
    sheared = np.asarray(OPERATIONS[ours](PICTURE, 0.5, FILL)).astype(int)
    assert (sheared[[0, -1], [0, -1]] == FILL).all() or (sheared[[0, -1], [-1, 0]] == FILL).all()
    middle = np.asarray(PICTURE)[32, 32].astype(int)
    assert np.abs(sheared[30:34, 30:34] - middle).min() < 30


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_no_strength_breaks_an_operation(name: str) -> None:
    for space in (RANDAUGMENT, TRIVIALAUGMENT_WIDE, AUTOAUGMENT):
        for strength in (0.0, 0.5, 1.0):
            amount = space.get(name, Range(0, 0)).draw(strength, np.random.default_rng(0))
            varied = OPERATIONS[name](PICTURE, amount, FILL)
            assert (varied.mode, varied.size) == ("RGB", (64, 64))


def test_signs_come_equally_often() -> None:
    rng = np.random.default_rng(0)
    signs = Counter(Range(0, 30, signed=True).draw(1.0, rng) for _ in range(400))
    assert set(signs) == {30, -30}
    assert min(signs.values()) > 160


def test_randaugment_spreads_its_magnitude_and_stays_in_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[float] = []
    # Another table, not this one less its other rows: putting those back would change its order.
    monkeypatch.setattr(policies, "RANDAUGMENT", {"brightness": Range(0, 10)})

    def note(image: Image.Image, amount: float, _fill: object) -> Image.Image:
        seen.append(amount)
        return image

    monkeypatch.setitem(OPERATIONS, "brightness", note)
    RandAugment(500, 9, 2, FILL)(PICTURE, np.random.default_rng(0))
    assert len(seen) == 500
    assert max(seen) == 10
    assert 0 <= min(seen) < 6
    seen.clear()
    RandAugment(3, 9, 0, FILL)(PICTURE, np.random.default_rng(0))
    assert seen == pytest.approx([9, 9, 9])


def test_none_is_no_policy() -> None:
    assert make_policy("none", operations=2, magnitude=9, magnitude_std=0, fill=FILL) is None
