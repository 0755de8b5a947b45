import json
import re
from dataclasses import replace

import pytest

from fleetnet.benchmark.plan import Cell
from fleetnet.benchmark.report import markdown
from fleetnet.benchmark.results import Results
from fleetnet.benchmark.tables import (
    Table,
    batches_table,
    every_cell_table,
    milliseconds,
    networks_table,
    summary_table,
    tables,
    threads_table,
)
from fleetnet.bundle import Judgement
from made_up_results import made_up, timing_of


@pytest.fixture(scope="module")
def one() -> Results:
    """Half a second for a batch of eight, at half of what the machine can do."""
    results = made_up(["MobileNetV2"], precisions=("fp32",))
    for cell in results.timings:
        results.timings[cell] = timing_of(0.1 * cell.batch)
    results.timings[Cell("MobileNetV2", "openvino", "fp32", 2, 8)] = timing_of(0.5)
    return results


def test_the_documents_table_of_accuracy(one: Results) -> None:
    table = networks_table(one)
    assert table.rows == (("MobileNetV2", "72.20", "90.70", "71.80", "91.00", "0.314", "3.440"),)


def test_the_documents_table_of_threads(one: Results) -> None:
    table = threads_table(one, "openvino", "fp32")
    assert [heading.split("\n")[0] for heading in table.headings] == [
        "model", "1 thread", "2 threads", "storage", "SD855, published",
    ]  # fmt: skip
    assert table.rows == (("MobileNetV2", "100.0", "100.0", "13.8", "20.74/12.71/8.10"),)
    assert "A Processor of 64 Bits" in table.notes[-1]


def test_the_documents_table_of_batches(one: Results) -> None:
    table = batches_table(one, "openvino", "fp32", 2)
    assert table.rows == (
        ("MobileNetV2", "224", "100.0", "400.0", "500.0", "16.0", "1.02/1.93/2.89"),
    )


def test_spread_throughput_and_cost(one: Results) -> None:
    table = summary_table(one, "openvino", "fp32")
    # 16 images/s of 0.314e9 multiply-adds are 10 GFLOP/s, of 200.
    assert table.rows == (
        ("MobileNetV2", "100.0", "120.0", "10%", "16.0", "8 × 2", "5%", "150", "0.90"),
    )
    assert "100 GFLOP/s on 1 thread, 200 GFLOP/s on 2 threads" in table.notes[0]


def test_the_share_of_the_peak_by_its_definition(one: Results) -> None:
    cell = Cell("MobileNetV2", "openvino", "fp32", 1, 4)
    assert one.peak_share(cell) == pytest.approx(2 * 0.314e9 * 10 / 1e11)
    assert one.peak_share(Cell("MobileNetV2", "openvino", "fp32", 64, 4)) is None


def test_figures_that_could_not_be_measured_are_a_dash() -> None:
    results = made_up(["ReXNet_1_0"], precisions=("fp32", "int8"))
    every = every_cell_table(results)
    assert [row[5:] for row in every.rows if row[2] == "int8"] == [("–",) * 8] * 6
    assert summary_table(results, "openvino", "int8").rows == (("ReXNet_1_0", *["–"] * 8),)
    assert threads_table(results, "openvino", "fp32").rows[0][-1] == "–"  # no SD855 figures
    assert all("int8" not in table.title for table in tables(results))
    values = results.to_json()
    assert sum("missing" in row for row in values["latency"]) == 6


def test_more_threads_than_processors_are_marked() -> None:
    results = made_up(["MobileNetV2"], threads=(1, 2, 4))
    table = threads_table(results, "openvino", "fp32")
    assert table.headings[3] == "4 threads*\nms"
    assert table.notes[0] == "* More threads than the 2 processors at hand."
    assert "4 threads*" in batches_table(results, "openvino", "fp32", 4).title
    assert not batches_table(results, "openvino", "fp32", 2).notes[0].startswith("*")
    marked = [row["threads"] for row in results.to_json()["latency"] if row["oversubscribed"]]
    assert set(marked) == {4}


def test_markdown_and_json_agree() -> None:
    results = made_up()
    page = markdown(results, ["accuracy_latency.png"])
    values = json.loads(json.dumps(results.to_json()))
    assert len(values["networks"]) == 12
    assert len(values["latency"]) == 12 * 2 * 2 * 3
    assert "![accuracy over latency](accuracy_latency.png)" in page
    rows = [re.split(r" \| ", line.strip("| ")) for line in page.splitlines() if line[:2] == "| "]
    whole = {tuple(row[:5]): row[5:] for row in rows if len(row) == 13 and row[3].isdigit()}
    assert len(whole) == len(values["latency"])
    for cell in values["latency"]:
        key = (cell["network"], cell["engine"], cell["precision"], *map(
            str, (cell["threads"], cell["batch"])
        ))  # fmt: skip
        p50, p95, _, _, _, _, rate, share = whole[key]
        assert float(p50) == pytest.approx(cell["p50_ms"], abs=0.006)
        assert float(p95) == pytest.approx(cell["p95_ms"], abs=0.006)
        assert float(rate) == pytest.approx(cell["images_per_s"], abs=0.06)
        assert share == f"{cell['peak_share']:.0%}"


def test_every_table_says_where_and_with_what() -> None:
    page = markdown(made_up(), [])
    for part in page.split("## ")[2:]:
        assert "A Processor of 64 Bits" in part
        assert "openvino" in part
        assert "2026-11-22" in part


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00123, "1.23"), (0.0999, "99.90"), (0.1, "100.0"), (0.99999, "1000.0"), (2.5, "2500")],
)
def test_milliseconds(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


def test_markdown_of_any_name() -> None:
    row = ("caf\udce9|\x1b[1m\nx.bundle", "1")
    table = Table("title", ("network", "ms"), (row,), ())
    assert r"| caf\udce9\|\x1b[1m x.bundle | 1 |" in table.markdown()


def test_tables_of_fewer_bits_say_what_is_lost() -> None:
    judgement = Judgement(
        metric="top1", judged_by="confidence", images=200, loss=0.0003, low=-0.001, high=0.0012,
        allowed=0.005,
    )  # fmt: skip
    found = made_up(["MobileNetV2", "ReXNet_1_0"], precisions=("fp32", "bf16"))
    judged, other = found.networks
    judged = replace(judged, trained=True, judgements={("openvino", "bf16"): judgement})
    results = replace(found, networks=(judged, other))
    loses = "MobileNetV2 in bf16, openvino: is expected to lose 0.03 points of top-1"
    for table in (
        threads_table(results, "openvino", "bf16"),
        batches_table(results, "openvino", "bf16", 1),
        summary_table(results, "openvino", "bf16"),
        every_cell_table(results),
    ):
        notes = "\n".join(table.notes)
        assert loses in notes
        assert "Networks with random weights have nothing to lose in bf16" in notes
    assert loses not in "\n".join(threads_table(results, "openvino", "fp32").notes)
    entry = results.to_json()["networks"][0]
    assert entry["judgements"][0]["engine"] == "openvino"
    assert entry["judgements"][0]["allowed"] == 0.005
    unjudged = replace(found, networks=(replace(judged, judgements={}), other))
    notes = "\n".join(summary_table(unjudged, "openvino", "bf16").notes)
    assert "What MobileNetV2 loses in bf16, openvino, is not on record" in notes
