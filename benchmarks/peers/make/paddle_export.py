"""Export PaddleClas's network as its own script does: ``paddle_export.py FOLDER NAME``.

In PaddleClas's environment. Its ``tools/export_model.py`` puts the softmax into the graph, leaves
the batch free, and saves with ``paddle.jit``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "parity"))

import paddle
from paddle_side import load_zoo


def main(folder: Path, name: str) -> None:
    """Write ``NAME.paddle/inference.json`` and its parameters."""
    zoo = load_zoo("rexnet" if name.startswith("ReXNet") else "mobilenet_v2")
    network = getattr(zoo, name)()
    missing, unexpected = network.set_state_dict(paddle.load(str(folder / f"{name}.pdparams")))
    if missing or unexpected:
        sys.exit(f"{name}: missing {missing}, unexpected {unexpected}")
    network = paddle.nn.Sequential(network, paddle.nn.Softmax())
    network.eval()
    spec = paddle.static.InputSpec([None, 3, 224, 224], "float32", name="x")
    static = paddle.jit.to_static(network, input_spec=[spec], full_graph=True)
    paddle.jit.save(static, str(folder / f"{name}.paddle" / "inference"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
