import csv
from pathlib import Path

import pytest

from fleetnet.errors import ModelError
from fleetnet.models.registry import MODELS, NAMES, find_model, find_name, published
from samples import ROOT

PUBLISHED = ROOT.parent / "shared" / "reference" / "published.csv"
SERIES = PUBLISHED.with_name("mobile-series.csv")


def test_names_are_found_without_regard_to_case() -> None:
    assert find_model("mobilenetv2_X0_25").name == "MobileNetV2_x0_25"
    assert find_model("REXNET_1_0").name == "ReXNet_1_0"
    assert find_model("mobilenetv2_100").name == "mobilenetv2_100"


def test_no_two_names_differ_only_by_case() -> None:
    assert len({name.casefold() for name in NAMES}) == len(NAMES)


def test_the_networks_of_both_documents_are_there() -> None:
    assert set(published()["models"]) <= set(NAMES)
    assert len(published()["models"]) >= 12


def test_a_name_may_mean_a_network_with_one_set_of_weights() -> None:
    named = find_name("mobilenetv2_SSLD")
    assert (named.name, named.weights) == ("MobileNetV2_ssld", "ssld")
    assert named.entry is find_model("MobileNetV2")
    assert "MobileNetV2_ssld" not in MODELS
    assert find_name("MobileNetV2").weights == ""


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("MobilNetV2", "MobileNetV2"),
        ("rexnet_10", "ReXNet_1_0"),
        ("ReXNet1_5", "ReXNet_1_5"),
        ("ReXNet_1", "ReXNet_1_0"),
        ("mobilenet", "MobileNetV2"),
    ],
)
def test_an_unknown_name_gets_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(ModelError, match=f"did you mean '{nearest}'"):
        find_model(wrong)


def test_a_name_like_nothing_gets_no_guess() -> None:
    with pytest.raises(ModelError, match="unknown model 'zzz'") as error:
        find_model("zzz")
    assert "did you mean" not in str(error.value)


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        pytest.skip("the shared figures are not here")
    lines = table.read_text().splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def test_the_documents_networks_are_all_there() -> None:
    assert {row["model"] for row in _rows(PUBLISHED)} <= set(published()["models"])


@pytest.mark.parametrize("table", [PUBLISHED, SERIES], ids=["documents", "series"])
def test_published_figures_are_those_of_the_documents(table: Path) -> None:
    for row in _rows(table):
        if row["model"] not in published()["models"]:
            continue
        figures = published()["models"][row["model"]]
        found = {
            "top1": figures["top1"],
            "top5": figures.get("top5"),
            "reference_top1": figures.get("reference_top1"),
            "reference_top5": figures.get("reference_top5"),
            "flops_g": figures.get("gflops"),
            "params_m": figures.get("mparams"),
            "storage_mb": figures.get("storage_mb"),
        }
        for threads, time in zip((1, 2, 4), figures.get("sd855_ms", [None] * 3), strict=True):
            found[f"sd855_t{threads}"] = time
        for batch, time in zip((1, 4, 8), figures.get("v100_ms", [None] * 3), strict=True):
            found[f"v100_b{batch}"] = time
        expected = {
            key: float(value) if value else None
            for key, value in row.items()
            if key not in ("model", "family")
        }
        assert found == expected
