"""Answer pixels with model.json or, of the older format, older.pdmodel, on one thread."""

import json
import os
import sys
from pathlib import Path

from channel import answer

folder = Path(sys.argv[1])
older = json.loads((folder / "settings.json").read_text("utf-8"))["older"]
os.environ.update(FLAGS_enable_pir_api="0" if older else "1")


def load():
    """Return what maps one batch of pixels to logits."""
    from paddle import inference

    names = ("older.pdmodel", "older.pdiparams") if older else ("model.json", "model.pdiparams")
    settings = inference.Config(*(str(folder / name) for name in names))
    settings.disable_gpu()
    # With oneDNN some networks end with a segmentation fault, or wait for ever.
    settings.disable_mkldnn()
    settings.set_cpu_math_library_num_threads(1)
    settings.disable_glog_info()
    predictor = inference.create_predictor(settings)
    given = predictor.get_input_handle(predictor.get_input_names()[0])
    logits = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(pixels):
        given.copy_from_cpu(pixels)
        predictor.run()
        return logits.copy_to_cpu()

    return run


answer(load)
