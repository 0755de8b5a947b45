"""PaddleClas's way in Paddle Inference as a command: ``paddle_predict.py MODEL THREADS IMAGES…``.

Its wheel brings no headers of the C++ library, so it is the Python one; runs in its environment.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers" / "workers"))

from with_paddle import Paddle


def main(model: str, threads: int, images: list[str]) -> None:
    """Write the five best classes of each image, a line each."""
    answer = Paddle(threads, "pipelined").files(model)
    for image in images:
        print(image, *answer([image]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
