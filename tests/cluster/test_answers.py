"""What a process of the pool does, without the pool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import pyarrow.dataset
import pyarrow.parquet as parquet

from fleetnet.bundle import Bundle
from fleetnet.cluster.folder import LocalFolder, open_folder
from fleetnet.cluster.job import Asked, Begun, begin, done_name, file_name, tries_name
from fleetnet.cluster.sent import SentBundle
from fleetnet.cluster.worker import MOST_TRIES, Answered, Order, PartClassifier
from fleetnet.errors import DataError
from fleetnet.image_files import find_images
from fleetnet.inference.classifier import Classifier
from fleetnet.left_out import LeftOut
from samples import make_folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "shapes", images=4)
    (folder / "circle" / "bad.jpg").write_bytes(b"no image")
    (folder / "circle" / "empty.png").write_bytes(b"")
    return folder


def asked_of(of: Bundle, **changed: object) -> Asked:
    usual: dict[str, object] = {
        "model": of.path.name,
        "bundle": of.hash,
        "engine": "openvino",
        "precision": "fp32",
        "exact": False,
        "top_k": 2,
        "labels": None,
        "per_part": 5,
    }
    return Asked.model_validate(usual | changed)


def order_of(bundle: Bundle, output: Path) -> Order:
    return Order(
        bundle=SentBundle.of(bundle),
        asked=asked_of(bundle),
        folder=LocalFolder(output),
        base="",
        labels=None,
        threads=1,
        batch_size=None,
    )


def begun(order: Order, images: Path, place: str = "out") -> Begun:
    return begin(order.folder, order.asked, [str(images)], LeftOut(), place)


def answer(order: Order, job: Begun) -> list[Answered]:
    classifier = PartClassifier(order)
    return [classifier(part._asdict()) for part in job.open]


def rows(output: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pyarrow.dataset.dataset(output).to_table().to_pylist()
    return found


def test_rows_are_what_prediction_answers(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    order = order_of(bundle, tmp_path / "out")
    job = begun(order, images)
    said = answer(order, job)
    assert sum(part["images"] for part in said) == 14
    assert sum(part["unreadable"] for part in said) == 2
    with Classifier(bundle, threads=1, mode="throughput") as classifier:
        expected = list(classifier.predict(find_images([str(images)]), 2))
    found = rows(tmp_path / "out")
    assert [row["image"] for row in found] == [one.source for one in expected]
    assert [row["error"] for row in found] == [one.error for one in expected]
    for row, one in zip(found, expected, strict=True):
        for rank in range(2):
            score = one.top[rank] if one.ok else None
            assert row[f"class_{rank + 1}"] == (score and score.label)
            assert row[f"probability_{rank + 1}"] == (score and pytest.approx(score.probability))


def test_a_file_says_what_it_is_of(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    order = order_of(bundle, tmp_path / "out")
    answer(order, begun(order, images))
    metadata = parquet.read_schema(tmp_path / "out" / file_name(0)).metadata
    assert metadata[b"fleetnet.bundle"] == bundle.hash.encode()


def test_a_part_that_is_whole_is_not_made_again(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    order = order_of(bundle, tmp_path / "out")
    job = begun(order, images)
    said = answer(order, job)
    before = (tmp_path / "out" / file_name(0)).stat().st_mtime_ns
    # A process that gets it again finds it whole, as does a later call.
    assert answer(order, job) == said
    assert (tmp_path / "out" / file_name(0)).stat().st_mtime_ns == before
    later = begun(order, images)
    assert (len(later.done), later.open) == (3, [])


def test_what_a_kill_leaves_is_made_again(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    order, out = order_of(bundle, tmp_path / "out"), tmp_path / "out"
    answer(order, begun(order, images))
    (out / done_name(0)).unlink()  # killed between the file and the note
    (out / file_name(2)).write_bytes(b"cut off")  # a disk that lost what was written
    later = begun(order, images)
    assert [part.number for part in later.open] == [0, 2]
    answer(order, later)
    assert len({row["image"] for row in rows(out)}) == len(rows(out)) == 14


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"images": -1}', b"\xff"])
def test_a_part_whose_note_is_damaged_is_made_again(
    bundle: Bundle, images: Path, tmp_path: Path, note: bytes
) -> None:
    order, out = order_of(bundle, tmp_path / "out"), tmp_path / "out"
    answer(order, begun(order, images))
    (out / done_name(1)).write_bytes(note)
    # One of another job, which somebody copied here.
    (out / done_name(7)).write_bytes((out / done_name(0)).read_bytes())
    (out / file_name(7)).write_bytes((out / file_name(0)).read_bytes())
    later = begun(order, images)
    assert ([part.number for part in later.open], len(later.done)) == ([1], 2)
    assert not (out / done_name(7)).exists()
    (part,) = answer(order, later)
    assert (part["images"], part["problem"]) == (5, "")


def test_an_image_that_ends_every_process_ends_no_job(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    order, out = order_of(bundle, tmp_path / "out"), tmp_path / "out"
    job = begun(order, images)
    (out / tries_name(1)).parent.mkdir(parents=True)
    (out / tries_name(1)).write_bytes(b"%d" % MOST_TRIES)
    problems = [part["problem"] for part in answer(order, job)]
    assert ["was begun" in problem for problem in problems] == [False, True, False]
    assert [part.number for part in begun(order, images).open] == [1]
    assert [part["problem"] for part in answer(order, begun(order, images))] == [""]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"bundle": "0" * 64}, "another model"),
        ({"top_k": 1}, "top_k=2, not 1"),
        ({"labels": "0" * 64}, "other labels"),
        ({"per_part": 6}, "per_part=5, not 6"),
    ],
)
def test_another_job_is_refused(
    bundle: Bundle, images: Path, tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    order = order_of(bundle, tmp_path / "out")
    begun(order, images)
    with pytest.raises(DataError, match=words):
        begin(order.folder, asked_of(bundle, **changed), [str(images)], LeftOut(), "out")


def test_other_images_are_refused(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    order = order_of(bundle, tmp_path / "out")
    begun(order, images)
    (images / "circle" / "bad.jpg").unlink()
    with pytest.raises(DataError, match="other images"):
        begun(order, images)


def test_a_folder_with_other_things_is_refused(
    bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    order = order_of(bundle, tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(DataError, match="other things"):
        begun(order, images)
    with pytest.raises(DataError, match="not a folder"):
        open_folder(str(tmp_path / "out" / "mine.txt"))
    with pytest.raises(DataError, match="nothing can be written"):
        open_folder("https://example.org/out")


def test_a_damaged_job_is_one_line(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    order = order_of(bundle, tmp_path / "out")
    begun(order, images)
    job = tmp_path / "out" / "_job" / "job.json"
    job.write_text(json.dumps(json.loads(job.read_text()) | {"parts": 0}))
    with pytest.raises(DataError, match=r"job\.json: parts"):
        begun(order, images)
    job.write_bytes(b"{")
    with pytest.raises(DataError, match=r"job\.json: [^:].*choose another output="):
        begun(order, images)


def test_a_bundle_that_is_sent_answers_alike(
    bundle: Bundle, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy.bundle"))
    order = order_of(Bundle.load(copy), tmp_path / "out")
    assert order.bundle.here() == copy
    shutil.rmtree(copy)
    here = order.bundle.here()
    assert here.is_relative_to(tmp_path / "cache")
    assert Bundle.load(here).manifest == bundle.manifest
    assert order.bundle.here() == here
    assert all(not part["problem"] for part in answer(order, begun(order, images)))


def test_an_onnx_file_can_be_sent_too(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    alone = Path(shutil.copy(bundle.path / "model.onnx", tmp_path / "alone.onnx"))
    sent = SentBundle.of(Bundle.load(alone))
    alone.unlink()
    assert Bundle.load(sent.here()).hash == sent.hash
