"""Answer pixels with model.x86.nb, on one thread, in Python 3.7."""

import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps one batch of pixels to logits."""
    from paddlelite import lite

    settings = lite.MobileConfig()
    settings.set_model_from_file(str(folder / "model.x86.nb"))
    predictor = lite.create_paddle_predictor(settings)

    def run(pixels):
        planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), dtype=np.float32)
        predictor.get_input(0).from_numpy(planes)
        predictor.run()
        return np.array(predictor.get_output(0).numpy())

    return run


answer(load)
