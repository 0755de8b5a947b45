"""Print the table of differences between timm's and torchvision's networks and ours."""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[2] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "weights")]

from peers import largest_difference, timm_network, torchvision_network  # noqa: E402
from test_parity import TIMMS, TORCHVISIONS  # noqa: E402

from fleetnet.models import MODELS  # noqa: E402
from fleetnet.weights.create import create_model  # noqa: E402


def main() -> None:
    """Compare every network that both sides have."""
    warnings.simplefilter("ignore")
    sources = (("timm", TIMMS, timm_network), ("torchvision", TORCHVISIONS, torchvision_network))
    print("| source | original | ours | largest difference | spread of the logits |")
    print("| --- | --- | --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pth"
        for source, networks, build in sources:
            for name, ours in networks.items():
                original = build(name)
                torch.save(original.state_dict(), file)
                network = create_model(ours, weights=file)
                difference, spread = largest_difference(original, network, MODELS[ours].size)
                print(f"| {source} | `{name}` | `{ours}` | {difference:.1e} | {spread:.2f} |")


if __name__ == "__main__":
    main()
