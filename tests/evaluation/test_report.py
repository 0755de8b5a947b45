"""The report as a browser would take it: well formed, asking for nothing, trusting no name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from evaluation.made_up import MadeUpSource, about, multi, single
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.about import About
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import summarise
from fleetnet.evaluation.history import clean_history
from fleetnet.evaluation.report import render, write_report
from fleetnet.evaluation.slices import SliceTable, slice_accuracy
from fleetnet.preprocess import Preprocess

PREPROCESS = Preprocess(resize=64, crop=64)
VOID = {"meta", "img", "br", "link"}
HISTORY = [
    {"epoch": n, "lr": 0.1 / n, "train_loss": 1 / n, "train_top1": 0.5, "top1": 0.4 + n / 20}
    for n in range(1, 6)
]


class Page(HTMLParser):
    """Elements, texts and attributes; fails where an element is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.urls: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.policy = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "action", "poster", "srcset"):
                self.urls.append(value or "")
            if name == "content" and "default-src" in (value or ""):
                self.policy = value or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def heat(pixels: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    return np.full(pixels.shape[:3], 0.5, np.float32)


def page_of(
    evaluation: Evaluation, source: MadeUpSource, facts: About | None = None, **options: object
) -> Page:
    figures = summarise(evaluation, resamples=50)
    return Page(
        render(evaluation, figures, source, PREPROCESS, facts or about(), **options)  # type: ignore[arg-type]
    )


def test_every_section_is_in_the_report() -> None:
    evaluation, source = single(80, ("cat", "dog"))
    table = SliceTable({"site": {n: "AB"[n % 2] for n in range(80)}}, ())
    figures = summarise(evaluation, resamples=50)
    facts = about(
        history=clean_history(HISTORY),
        epoch=4,
        slices=slice_accuracy(table, evaluation.indices, figures.right),
        notes=("a note",),
        environment={"machine": "abacus"},
        documents={"Recipe": {"epochs": 5}},
        seen="It knows them.",
    )
    text = render(evaluation, figures, source, PREPROCESS, facts, heat)
    page = Page(text)
    for words in (
        "MobileNetV2_x0_25", "all made-up images", "openvino 1", "50 resamples",
        figures["top1"].text(), figures["roc_auc"].range_text(), "The positive class is dog",
        "The dot is the epoch evaluated here, 4", "learning rate", "true \\ predicted",
        "Temperature scaling would divide", "Precision and recall", "site", "a note",
        "Worst mistakes", "the least probable truth first",
        "Probable label errors", "all 96×80 pixels", "JPEG", "abacus",
        '"epochs": 5', "fleetnet evaluate x y", "It knows them.", "called cat", "is dog",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.tags.count("svg") == 3 + 2 + 3
    assert "--share:" in text
    wrong = int((~figures.right).sum())
    assert f"{min(wrong, 24)} of {wrong} wrongly answered images" in page.text


def test_the_page_loads_nothing_from_elsewhere() -> None:
    evaluation, source = single(40, ("cat", "dog"))
    page = page_of(evaluation, source, about(history=clean_history(HISTORY)), explain=heat)
    for url in page.urls:
        assert url.startswith(("#", "data:image/jpeg;base64,")), url[:60]
    assert "default-src 'none'" in page.policy
    anchors = {url for url in page.urls if url.startswith("#")}
    assert anchors <= {f"#{name}" for name in page.ids}
    assert len(page.ids) == len(set(page.ids))


def test_the_script_is_the_one_that_the_policy_allows() -> None:
    import base64
    import hashlib

    evaluation, source = single(10, ("cat", "dog"))
    text = render(evaluation, summarise(evaluation, resamples=0), source, PREPROCESS, about())
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}{0}$ {{ 7 * 7 }} {% raw %}",
    "日本 \u202egpj.exe\x07",
)


def test_names_from_the_data_are_nothing_but_text() -> None:
    evaluation, source = single(60, HOSTILE, names=[f"{HOSTILE[n % 4]}/{n}" for n in range(60)])
    table = SliceTable({HOSTILE[0]: {n: HOSTILE[n % 4] for n in range(60)}}, ())
    figures = summarise(evaluation, resamples=10)
    facts = about(
        model=HOSTILE[1],
        part=HOSTILE[0],
        command=HOSTILE[1],
        slices=slice_accuracy(table, evaluation.indices, figures.right),
        notes=HOSTILE,
        no_heat=HOSTILE[0],
        environment={HOSTILE[0]: HOSTILE[1]},
        documents={HOSTILE[0]: {HOSTILE[1]: HOSTILE[2]}},
    )
    evaluation = Evaluation(
        evaluation.classes, evaluation.logits, evaluation.labels, evaluation.indices, HOSTILE
    )
    page = Page(render(evaluation, figures, source, PREPROCESS, facts))
    assert page.tags.count("script") == 1
    for name in HOSTILE[:3]:
        assert name in page.text
    assert "{{ 7 * 7 }}" in page.text
    images = [url for url in page.urls if not url.startswith("#")]
    assert all(url.startswith("data:image/jpeg") for url in images)


@pytest.mark.slow
def test_of_a_thousand_classes_the_largest_confusions_are_listed() -> None:
    names = [f"class number {number}" for number in range(1000)]
    evaluation, source = single(1500, names)
    figures = summarise(evaluation, resamples=20)
    text = render(evaluation, figures, source, PREPROCESS, about(), heat)
    page = Page(text)
    assert len(text) < 3_000_000
    assert "The most frequent of" in page.text
    assert "true \\ predicted" not in page.text
    assert page.tags.count("img") <= 24 * 3
    assert "top-5" in page.text


def test_classes_that_play_no_part_are_left_out() -> None:
    evaluation, source = single(30, ("cat", "dog"))
    wide = Evaluation(
        ("cat", "dog", *(f"absent {n}" for n in range(40))),
        np.pad(evaluation.logits, ((0, 0), (0, 40)), constant_values=-20),
        evaluation.labels,
        evaluation.indices,
    )
    page = page_of(wide, source)
    assert "40 classes left out that have neither images nor predictions" in page.text
    assert "absent" not in page.text
    assert "true \\ predicted" in page.text


def test_multi_label() -> None:
    evaluation, source = multi(60, ("cat", "dog", "cow"))
    page = page_of(evaluation, source, explain=heat)
    for words in (
        "mean average precision", "micro F1", "exact match", "classes an image",
        "image and class pairs", "missed", "labelled with",
    ):  # fmt: skip
        assert words in page.text, words
    assert "true \\ predicted" not in page.text
    assert "Thresholds" not in page.text


def test_where_nothing_is_wrong() -> None:
    labels = np.arange(12) % 3
    logits = (np.eye(3)[labels] * 9).astype(np.float32)
    source = MadeUpSource("abc", [(int(label),) for label in labels])
    page = page_of(Evaluation(("a", "b", "c"), logits, labels, np.arange(12)), source)
    assert "There are none." in page.text
    assert "finds no label that is probably wrong" in page.text
    assert "img" not in page.tags


def test_a_single_image_is_enough() -> None:
    source = MadeUpSource("ab", [(0,)])
    logits = np.array([[1.0, 2.0]], np.float32)
    page = page_of(Evaluation(("a", "b"), logits, np.array([0]), np.array([0])), source)
    assert "1 of 1 wrongly answered image," in page.text


def test_images_that_are_gone_by_then_are_left_out() -> None:
    evaluation, source = single(20, ("a", "b"), unreadable=range(20))
    page = page_of(evaluation, source, explain=heat)
    assert "img" not in page.tags


@pytest.mark.slow
def test_unreadable_images_are_named_and_the_rest_counted() -> None:
    evaluation, source = single(20, ("a", "b"))
    lines = tuple(f"{n}.jpg: damaged" for n in range(30))
    broken = Evaluation(
        evaluation.classes, evaluation.logits, evaluation.labels, evaluation.indices, lines
    )
    page = page_of(broken, source)
    assert "30 images could not be read" in page.text
    assert "19.jpg: damaged" in page.text
    assert "… and 10 more" in page.text


def test_a_calibrated_bundle_says_so() -> None:
    evaluation, source = single(40, ("a", "b"))
    calibrated = Evaluation(
        evaluation.classes, evaluation.logits, evaluation.labels, evaluation.indices, (), 1.5
    )
    assert "divides the logits by 1.500" in page_of(calibrated, source).text


def test_a_report_is_whole_or_absent(tmp_path: Path) -> None:
    evaluation, source = single(10, ("a", "b"))
    figures = summarise(evaluation, resamples=0)
    path = tmp_path / "new" / "report.html"
    write_report(path, evaluation, figures, source, PREPROCESS, about())
    assert path.read_text("utf-8").startswith("<!doctype html>")
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(FleetnetError, match="cannot write"):
        write_report(blocked / "r.html", evaluation, figures, source, PREPROCESS, about())


def test_a_name_that_is_no_unicode_does_not_stop_it(tmp_path: Path) -> None:
    evaluation, source = single(10, ("a\udcff", "b"))
    figures = summarise(evaluation, resamples=0)
    write_report(tmp_path / "r.html", evaluation, figures, source, PREPROCESS, about())
    Page((tmp_path / "r.html").read_text("utf-8"))
