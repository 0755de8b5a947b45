"""A bundle that is replaced while it is read is the old one or the new one, never half of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fleetnet
from fleetnet.bundle import Bundle, while_replaced, write_bundle
from fleetnet.bundle.replacement import TRIES
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.inference import classifier
from fleetnet.serving.loaded import LoadedModel, Opening
from replaced_bundles import repeating, swap_folders, swap_links, two_bundles

RUNS = 12
PICTURE = np.full((30, 30, 3), 90, np.uint8)

Answer = tuple[tuple[str, ...], tuple[float, ...]]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return two bundles whose networks and classes differ."""
    return two_bundles(tmp_path_factory.mktemp("bundles"))


def of_classifier(opened: classifier.Classifier) -> Answer:
    with opened:
        (answer,) = opened.predict(PICTURE)
    assert answer.logits is not None
    return opened.classes, tuple(np.round(answer.logits, 3).tolist())


def of_served(path: Path) -> Answer:
    served = LoadedModel.open(path, Opening(mode="latency"))
    assert served.bundle.manifest.classes == served.classes
    return of_classifier(served.classifier)


OPENED: dict[str, Callable[[Path], Answer]] = {
    "the package's classifier": lambda path: of_classifier(fleetnet.Classifier(path)),
    "the host's classifier": lambda path: of_classifier(classifier.Classifier(path)),
    "the server": of_served,
}


@pytest.mark.parametrize("how", OPENED)
@pytest.mark.parametrize("way", [swap_links, swap_folders])
def test_replaced_while_it_is_opened(
    bundles: tuple[Path, Path],
    tmp_path: Path,
    way: Callable[[tuple[Path, Path], Path], Callable[[], None]],
    how: str,
) -> None:
    expected = {OPENED[how](bundle) for bundle in bundles}
    assert len(expected) == 2
    place = tmp_path / "net.bundle"
    with repeating(way(bundles, place)):
        found = [answer_or_error(OPENED[how], place) for _ in range(RUNS)]
    refusals = {answer for answer in found if isinstance(answer, str)}
    assert set(found) - refusals <= expected
    # Between two renames of a folder there is nothing at its place, and whoever is held up at every
    # try may meet another bundle each time. How often that happens is a matter of time.
    assert all("net.bundle" in line for line in refusals), refusals


def answer_or_error(opened: Callable[[Path], Answer], path: Path) -> Answer | str:
    try:
        return opened(path)
    except FleetnetError as error:
        return str(error)


def test_a_lone_file_that_is_replaced_after_its_manifest_was_read(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes((bundles[0] / "model.onnx").read_bytes())
    old = Bundle.load(path)
    path.write_bytes((bundles[1] / "model.onnx").read_bytes())
    assert old.content(format="onnx").data == (bundles[0] / "model.onnx").read_bytes()
    with pytest.raises(BundleError, match="is not the file that was exported"):
        old.content(format="onnx")
    content = while_replaced(old, lambda bundle: bundle.content(format="onnx"))
    assert content.data == (bundles[1] / "model.onnx").read_bytes()


def test_what_was_compared_is_what_is_used(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    """Whatever is at the path afterwards."""
    bundle = write_bundle(
        tmp_path / "net.bundle",
        Bundle.load(bundles[0]).manifest,
        {"model.onnx": (bundles[0] / "model.onnx").read_bytes()},
    )
    (content,) = bundle.contents(format="onnx")
    content.path.write_bytes(b"other")
    assert content.data == (bundles[0] / "model.onnx").read_bytes()
    assert Bundle.load(bundle.path).hash == bundle.hash


def test_reading_begins_anew_a_few_times(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    """A bundle that is another one each time is refused in the end."""
    place = tmp_path / "net.bundle"
    change = swap_links(bundles, place)
    tries = 0

    def use(bundle: Bundle) -> object:
        nonlocal tries
        tries += 1
        change()
        return bundle.content(format="onnx")

    with pytest.raises(BundleError, match="is not the file that was exported"):
        while_replaced(Bundle.load(place), use)
    assert tries == TRIES + 1


def test_a_damaged_bundle_is_refused_with_the_same_line(
    bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    """After one more look; what is wrong otherwise is said at once."""
    place = tmp_path / "net.bundle"
    swap_folders(bundles, place)
    (place / "model.onnx").write_bytes(b"damaged")
    bundle = Bundle.load(place)
    with pytest.raises(BundleError) as said:
        bundle.content(format="onnx")
    with pytest.raises(BundleError) as again:
        fleetnet.Classifier(place)
    assert str(again.value) == str(said.value)
    looks = 0

    def use(_: Bundle) -> None:
        nonlocal looks
        looks += 1
        raise BundleError("no graph")

    with pytest.raises(BundleError, match="no graph"):
        while_replaced(bundle, use)
    assert looks == 1
