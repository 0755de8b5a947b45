"""Weights in another layout and format, without the command line."""

import json
from pathlib import Path

import pytest
import torch

from fleetnet.errors import CheckpointError, FleetnetError
from fleetnet.weights.adapter import COUNTER
from fleetnet.weights.convert import check_other_file, convert_weights
from fleetnet.weights.identify import to_ours
from fleetnet.weights.published import published_weights
from fleetnet.weights.read import WeightsFile, read_weights


@pytest.fixture(scope="module")
def read(checkpoint: Path) -> WeightsFile:
    return read_weights(checkpoint)


@pytest.mark.parametrize(
    ("name", "layout", "written"),
    [
        ("x.safetensors", None, "fleetnet"),
        ("x.pdparams", None, "paddle"),
        ("x.safetensors", "timm", "timm"),
        ("x.pdparams", "fleetnet", "fleetnet"),
    ],
)
def test_a_format_has_its_usual_layout(
    read: WeightsFile, tmp_path: Path, name: str, layout: str | None, written: str
) -> None:
    if layout == "timm":
        with pytest.raises(CheckpointError, match="has no MobileNetV2_x0_25"):
            convert_weights(read, tmp_path / name, layout)
        assert not (tmp_path / name).exists()
        return
    adapter = convert_weights(read, tmp_path / name, layout)
    assert adapter.source.word == written
    again = read_weights(tmp_path / name)
    assert again.identity.adapter.source.word == written
    assert again.identity.entry == read.identity.entry
    before, after = (to_ours(file.state, file.identity) for file in (read, again))
    assert all(torch.equal(after[key], before[key]) for key in before if COUNTER not in key)


def test_what_cannot_be_written_is_refused(
    read: WeightsFile, tmp_path: Path, checkpoint: Path
) -> None:
    with pytest.raises(FleetnetError, match="unknown layout 'padle', did you mean 'paddle'"):
        convert_weights(read, tmp_path / "x.pdparams", "padle")
    with pytest.raises(CheckpointError, match="the extension says the format"):
        convert_weights(read, tmp_path / "x.bin")
    link = tmp_path / "x.safetensors"
    link.symlink_to(checkpoint)
    with pytest.raises(CheckpointError, match="is the file to convert"):
        convert_weights(read, link)
    check_other_file(checkpoint, tmp_path / "absent.ckpt")


def test_what_is_known_of_a_file_is_json(read: WeightsFile) -> None:
    values = read.to_json()
    assert json.loads(json.dumps(values)) == values
    assert values["network"] == "MobileNetV2_x0_25"
    assert values["layout"] == "Fleetnet"
    assert (values["num_classes"], values["in_channels"]) == (3, 3)
    assert set(values["shapes"]) == set(read.state)
    assert all(isinstance(value, torch.Tensor) for value in read.state.values())


def test_a_published_set_is_json() -> None:
    for entry in published_weights():
        values = entry.to_json()
        assert json.loads(json.dumps(values)) == values
        assert values["set"] == entry.set
        assert values["preprocess"] == entry.preprocess.to_json()
