import json
from typing import Any

import pytest
import torch

from fleetnet.errors import ModelError
from fleetnet.models import build_model
from fleetnet.models.described import ACTIVATIONS, described_setting
from fleetnet.models.description import Description
from fleetnet.models.mobilenetv2 import mobilenetv2_setting
from fleetnet.models.network import MobileNetwork, measure_structure
from fleetnet.models.registry import (
    NAMES,
    add_described,
    description_of,
    entries,
    find_name,
    told_model,
)
from fleetnet.models.rexnet import rexnet_setting

ROWS: list[dict[str, Any]] = [
    {"channels": 8, "expand": 1},
    {"channels": 13, "stride": 2, "squeeze": 12, "kernel": 5},
    {"channels": 20, "repeats": 2, "stride": 2},
]
SMALL: dict[str, Any] = {"name": "small", "size": 64, "stem": 8, "head": 24, "blocks": ROWS}
MOBILENETV2 = [
    {"channels": channels, "repeats": repeats, "stride": stride, "expand": expand}
    for expand, channels, repeats, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    )
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shortcut", ["equal", "partial"])
def test_costs_are_those_of_the_network_that_is_built(activation: str, shortcut: str) -> None:
    values = {**SMALL, "activation": activation, "shortcut": shortcut}
    entry = add_described(values, "here")
    description = Description.from_values(values, "here")
    network = build_model(entry.name, 10)
    built = measure_structure(network, size=72)
    assert description.costs(10, 72) == (built.trainable, built.macs)
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 10)
    assert isinstance(network, MobileNetwork)
    assert isinstance(network.stem.act, ACTIVATIONS[description.activation])


def test_the_settings_of_mobilenetv2_and_of_rexnet_are_theirs() -> None:
    table = Description.from_values({"blocks": MOBILENETV2}, "here")
    theirs = mobilenetv2_setting(layout="rounded")
    assert described_setting(table) == theirs
    ramp = rexnet_setting()
    rows = [
        {
            "channels": block.out_channels,
            "stride": block.stride,
            "expand": 6 if block.expand else 1,
            "squeeze": 12 if block.squeezed else 0,
        }
        for block in ramp.blocks
    ]
    settings = {"activation": "silu", "shortcut": "partial", "blocks": rows}
    assert described_setting(Description.from_values(settings, "here")) == ramp


def test_a_name_ends_in_a_hash_of_the_settings() -> None:
    entry = add_described(SMALL, "here")
    assert entry.name.startswith("small-")
    assert add_described(json.loads(json.dumps(SMALL)), "elsewhere") is entry
    assert add_described({**SMALL, "head": 25}, "here").name != entry.name
    assert find_name(entry.name.upper()).entry is entry
    assert entry in entries()
    assert entry.name not in NAMES
    assert add_described(description_of(entry.name), "again") is entry


def test_a_file_cannot_take_the_name_of_another_network() -> None:
    name = add_described(SMALL, "here").name
    assert told_model(name, SMALL).name == name
    assert told_model("mobilenetv2", None).name == "MobileNetV2"
    for wrong in ("MobileNetV2", name.replace("small", "smaller")):
        with pytest.raises(ModelError, match=f"names the network '{wrong}', but describes"):
            told_model(wrong, SMALL)
    with pytest.raises(ModelError, match=r"unknown model 'custom\.yaml'"):
        told_model("custom.yaml", None)


WRONG: dict[str, tuple[Any, str]] = {
    "no mapping": ([1, 2], "must be a mapping of keys to values"),
    "no blocks": ({"stem": 8}, "blocks: it is missing"),
    "none": ({"blocks": []}, "blocks: its length must be at least 1"),
    "unknown key": ({**SMALL, "depth": 3}, "depth: nothing of this name is known"),
    "key in a row": ({"blocks": [{"channels": 8, "wide": 1}]}, "blocks.0.wide: nothing of this"),
    "text": ({"blocks": [{"channels": "8"}]}, "blocks.0.channels: it must be a whole number"),
    "truth": ({"blocks": [{"channels": True}]}, "blocks.0.channels: it must be a whole number"),
    "fraction": ({"blocks": [{"channels": 8.5}]}, "blocks.0.channels: it must be a whole number"),
    "nothing": ({"blocks": [{"channels": 0}]}, "blocks.0.channels: it must be at least 1"),
    "stride": ({"blocks": [{"channels": 8, "stride": 3}]}, "blocks.0.stride: it must be at most 2"),
    "kernel": ({"blocks": [{"channels": 8, "kernel": 4}]}, "blocks.0.kernel: it must be 3, 5 or 7"),
    "activation": ({**SMALL, "activation": "swish"}, "did you mean 'hard-swish'"),
    "name": ({**SMALL, "name": "../../etc/passwd"}, "name: it must be text of the form"),
    "newline": ({**SMALL, "name": "a\nb"}, "name: it must be text of the form"),
    "no number": ({**SMALL, "dropout": float("nan")}, "dropout: it must be"),
    "key that is no text": ({**SMALL, 7: 1}, "eys should be strings"),
    "deep": ({"blocks": [{"channels": 8, "repeats": 64}] * 4}, "256 blocks; at most 200"),
    "large": (
        {"blocks": [{"channels": 4096, "expand": 12}] * 20},
        "million parameters; at most 200 million are built",
    ),
    "slow": (
        {"size": 1024, "blocks": [{"channels": 512, "expand": 6, "repeats": 20}]},
        "million multiply-adds for an image; at most 50,000 million",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_describes_no_network_is_refused_in_a_line(case: str) -> None:
    values, message = WRONG[case]
    with pytest.raises(ModelError) as error:
        add_described(values, "custom.yaml")
    text = str(error.value)
    assert text.startswith("custom.yaml")
    assert message in text
    assert "\n" not in text
