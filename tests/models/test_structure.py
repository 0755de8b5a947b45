import csv
from pathlib import Path

import pytest

from fleetnet.models.registry import MODELS, published, structure
from fleetnet.models.rexnet import channel_ramp

TABLE = Path(__file__).with_name("measured-structure.csv")
ROWS = list(
    csv.DictReader(line for line in TABLE.read_text().splitlines() if not line.startswith("#"))
)

# Parameters in millions, as timm 1.0 counts them.
ROUNDED = {
    "mobilenetv2_035": 1_677_128,
    "mobilenetv2_050": 1_968_680,
    "mobilenetv2_075": 2_636_424,
    "mobilenetv2_100": 3_504_872,
    "mobilenetv2_110d": 4_516_520,
    "mobilenetv2_120d": 5_831_144,
    "mobilenetv2_140": 6_108_776,
}


@pytest.mark.parametrize("row", ROWS, ids=[row["model"] for row in ROWS])
def test_structure_equals_the_measured_table_to_its_last_digit(row: dict[str, str]) -> None:
    counted = structure(row["model"])
    assert f"{counted.trainable / 1e6:.3f}" == row["trainable_m"]
    assert f"{counted.total / 1e6:.3f}" == row["all_m"]
    assert f"{counted.macs / 1e9:.3f}" == row["macs_g"]


def test_the_table_has_every_network_of_the_families_that_were_measured() -> None:
    families = ("mobilenetv1", "mobilenetv2", "mobilenetv3", "rexnet", "shufflenetv2", "ghostnet")
    documents = {name: row["document"] for name, row in published()["models"].items()}
    expected = {name for name in MODELS if documents.get(name) in families}
    assert {row["model"] for row in ROWS} == expected


@pytest.mark.parametrize("row", ROWS[11:], ids=[row["model"] for row in ROWS[11:]])
def test_other_networks_have_the_size_that_their_documents_print(row: dict[str, str]) -> None:
    """Parameters as rounded there, with batch norm or without; operations within a fifth."""
    figures = published()["models"][row["model"]]
    assert float(row["trainable_m"]) == pytest.approx(figures["mparams"], abs=0.08)
    per_multiply_add = published()["documents"][figures["document"]]["operations_per_multiply_add"]
    gmacs = figures["gflops"] / per_multiply_add
    assert float(row["macs_g"]) == pytest.approx(gmacs, rel=0.2)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mobilenetv1_100", 4_231_976),
        ("mobilenetv1_100h", 5_282_600),
        ("mobilenetv1_125", 6_270_840),
        ("mobilenetv3_large_075", 3_993_528),
        ("mobilenetv3_large_100", 5_483_032),
        ("mobilenetv3_small_050", 1_593_224),
        ("mobilenetv3_small_075", 2_041_872),
        ("mobilenetv3_small_100", 2_542_856),
        ("mobilenet_v3_large", 5_483_032),
        ("mobilenet_v3_small", 2_542_856),
        ("ShuffleNetV2_x0_5", 1_366_792),
        ("ShuffleNetV2", 2_278_604),
        ("ShuffleNetV2_x1_5", 3_503_624),
        ("ShuffleNetV2_x2_0", 7_393_996),
        ("ghostnet_050", 2_587_292),
        ("ghostnet_100", 5_182_508),
        ("ghostnet_130", 7_358_820),
    ],
)
def test_other_networks_have_the_parameters_of_timm_and_torchvision(
    name: str, parameters: int
) -> None:
    assert structure(name).trainable == parameters


@pytest.mark.parametrize(("name", "parameters"), ROUNDED.items())
def test_rounded_layout_has_the_parameters_of_timm(name: str, parameters: int) -> None:
    assert structure(name).trainable == parameters


@pytest.mark.parametrize(
    ("name", "millions", "gmacs"),
    [
        ("ReXNet_lite_1_0", 4.7, 0.41),
        ("ReXNet_lite_1_3", 6.8, 0.65),
        ("ReXNet_lite_1_5", 8.3, 0.84),
        ("ReXNet_lite_2_0", 13.0, 1.5),
    ],
)
def test_rexnet_lite_has_the_size_its_authors_publish(
    name: str, millions: float, gmacs: float
) -> None:
    counted = structure(name)
    assert counted.trainable / 1e6 == pytest.approx(millions, abs=0.06)
    assert counted.macs / 1e9 == pytest.approx(gmacs, abs=0.006)


@pytest.mark.parametrize(
    ("number", "parameters", "millions", "size"),
    [
        (0, 4_652_008, 407, 224),
        (1, 5_416_680, 631, 240),
        (2, 6_092_072, 899, 260),
        (3, 8_197_096, 1440, 280),
        (4, 13_006_568, 2640, 300),
    ],
)
def test_efficientnet_lite_has_the_size_its_authors_publish(
    number: int, parameters: int, millions: int, size: int
) -> None:
    """Parameters as timm counts them; the authors' multiply-adds count element-wise work too."""
    name = f"EfficientNet_Lite{number}"
    counted = structure(name)
    assert counted.trainable == parameters
    assert 0.94 * millions < counted.macs / 1e6 < millions
    assert MODELS[name].size == size


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("lcnet_035", 1_644_370),
        ("lcnet_050", 1_880_856),
        ("lcnet_075", 2_358_288),
        ("lcnet_100", 2_953_800),
        ("lcnet_150", 4_501_112),
        ("MobileNetV4_conv_small", 3_774_024),
        ("MobileNetV4_conv_medium", 9_715_512),
        ("MobileNetV4_conv_large", 32_590_864),
    ],
)
def test_lcnet_and_mobilenetv4_have_the_parameters_of_timm(name: str, parameters: int) -> None:
    assert structure(name).trainable == parameters


@pytest.mark.parametrize("width", ["0_25", "0_35", "0_5", "0_75", "1_0", "1_5", "2_0", "2_5"])
def test_pplcnet_has_the_size_its_authors_publish(width: str) -> None:
    """Their multiply-adds count element-wise work too."""
    name = f"PPLCNet_x{width}"
    counted, figures = structure(name), published()["models"][name]
    assert counted.trainable / 1e6 == pytest.approx(figures["mparams"], abs=0.051)
    assert 0.92 * figures["gflops"] < counted.macs / 1e9 < figures["gflops"]


def test_ssld_is_mobilenetv2() -> None:
    assert structure("MobileNetV2_ssld") == structure("MobileNetV2")


def test_rexnet_channels_are_a_linear_ramp_with_odd_numbers() -> None:
    ramp = channel_ramp(1.0)
    assert ramp == (16, 27, 38, 50, 61, 72, 84, 95, 106, 117, 128, 140, 151, 162, 174, 185)
    assert all(channels % 8 == 0 for channels in channel_ramp(1.3, lite=True))


@pytest.mark.slow
def test_every_network_can_be_counted() -> None:
    for name in MODELS:
        assert structure(name).macs > 0
