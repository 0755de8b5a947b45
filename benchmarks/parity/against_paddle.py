"""Print the table of differences between PaddleClas's networks and ours, both directions.

    python against_paddle.py PADDLE_PYTHON [NETWORK…]

where ``PADDLE_PYTHON`` is the interpreter of an environment that has PaddlePaddle and PaddleClas.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from fleetnet.models import MODELS
from fleetnet.models.names import PADDLE
from fleetnet.weights.adapter import Adapter
from fleetnet.weights.create import create_model
from fleetnet.weights.identify import from_ours
from fleetnet.weights.write import write_weights

SIDE = Path(__file__).with_name("paddle_side.py")
TOLERANCE = 1e-4
NETWORKS = [name for name, entry in MODELS.items() if Adapter(PADDLE).parts(entry) is not None]


def logits(
    network: torch.nn.Module, folder: Path
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Run one of our networks on the shared input."""
    with torch.no_grad():
        result = network.eval()(torch.from_numpy(np.load(folder / "input.npy")))
    return np.asarray(result.numpy(), np.float32)


def ask_paddle(python: str, step: str, folder: Path, model: str) -> None:
    """Run one step of PaddleClas's half."""
    subprocess.run([python, SIDE, step, folder, model], check=True, stdout=subprocess.DEVNULL)


def main(paddle_python: str, *networks: str) -> None:
    """Theirs into ours, ours into theirs, for every network of PaddleClas's, or those named."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows: dict[str, list[float]] = {}
        ours = {}
        for model in networks or NETWORKS:
            ask_paddle(paddle_python, "make", folder, model)
            network = create_model(model, weights=folder / f"{model}.paddle.pdparams")
            theirs = np.load(folder / f"{model}.paddle.npy")
            rows[model] = [float(np.abs(logits(network, folder) - theirs).max()), theirs.std()]
            # The way back starts from other weights than those that came.
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.mul_(1.01)
            ours[model] = logits(network, folder)
            state = from_ours(network.state_dict(), MODELS[model], Adapter(PADDLE))
            write_weights(folder / f"{model}.ours.pdparams", state)
        print(
            "| network | PaddleClas's weights in ours | ours in PaddleClas | spread of the logits |"
        )
        print("| --- | ---: | ---: | ---: |")
        for model, (there, spread) in rows.items():
            ask_paddle(paddle_python, "check", folder, model)
            back = float(
                np.abs(np.load(folder / f"{model}.ours-in-paddle.npy") - ours[model]).max()
            )
            print(f"| `{model}` | {there:.1e} | {back:.1e} | {spread:.2f} |")
            if not max(there, back) <= TOLERANCE:
                sys.exit(f"{model} differs by more than {TOLERANCE:g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
