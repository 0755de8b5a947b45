"""All that an evaluation found, as JSON and as a report, without the command line."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.made_up import single
from fleetnet.bundle import Bundle
from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.about import About, environment
from fleetnet.evaluation.evaluate import evaluate
from fleetnet.evaluation.figures import summarise
from fleetnet.evaluation.overlap import Overlap
from fleetnet.evaluation.report_file import check_report
from fleetnet.evaluation.results import Results
from fleetnet.evaluation.slices import SliceTable, slice_accuracy
from fleetnet.trained import open_trained


def test_everything_is_in_the_json() -> None:
    evaluation, _ = single(40, ("cat", "dog"))
    figures = summarise(evaluation, resamples=0)
    table = SliceTable({"site": {n: "AB"[n % 2] for n in range(40)}}, ())
    slices = slice_accuracy(table, evaluation.indices, figures.right)
    results = Results(evaluation, figures, "all of them", slices=slices)
    values = results.to_json()
    assert values["top1"] == figures["top1"].value
    assert values["part"] == "all of them"
    assert [one["value"] for one in values["slices"]] == ["A", "B"]
    assert values["trained_on"] is None
    assert values["unreadable"] == []
    overlap = Overlap(np.arange(40), 42, 2, left_out=True)
    seen = Results(evaluation, figures, "some", overlap=overlap).to_json()
    assert seen["trained_on"] == {"images": 2, "left_out": True}


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_a_report_is_an_html_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(FleetnetError, match=r"name one that ends in \.html"):
        check_report(tmp_path / name)
    check_report(tmp_path / "report.HTM")
    with pytest.raises(FleetnetError, match="is a folder"):
        check_report(tmp_path)


def test_a_trained_network_writes_the_report_of_its_evaluation(
    bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    source = open_source(str(shapes))
    trained = open_trained(bundle.path)
    with trained.classifier as classifier:
        evaluation = evaluate(classifier, source, np.arange(len(source.samples)))
        about = About.of(classifier, trained.model, "all images", "a command", seen="It was seen.")
        assert about.engine.startswith(f"openvino {classifier.engine.version}, fp32, ")
        assert about.environment == environment(classifier, trained.model)
        assert about.environment["input"] == "short side to 72, centre 64×64, bilinear"
        assert (about.command, about.seen) == ("a command", "It was seen.")
    results = Results(evaluation, summarise(evaluation, resamples=0), "all images")
    trained.write_report(tmp_path / "with.html", source, results, command="fleetnet x <y>")
    trained.write_report(tmp_path / "without.html", source, results)
    page = (tmp_path / "with.html").read_text("utf-8")
    assert "<pre><code>fleetnet x &lt;y&gt;</code></pre>" in page
    assert "all images" in page
    assert "<pre><code></code></pre>" not in (tmp_path / "without.html").read_text("utf-8")
    with pytest.raises(FleetnetError, match="HTML file"):
        trained.write_report(tmp_path / "x.pdf", source, results)
