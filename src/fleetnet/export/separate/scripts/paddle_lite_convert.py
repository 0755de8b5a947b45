"""Turn older.pdmodel and older.pdiparams into model.x86.nb and model.arm.nb, in Python 3.7."""

import sys
from pathlib import Path

from paddlelite import lite

folder = Path(sys.argv[1])
for kind in ("x86", "arm"):
    # One that has made a file is not to be used again.
    optimiser = lite.Opt()
    optimiser.set_model_file(str(folder / "older.pdmodel"))
    optimiser.set_param_file(str(folder / "older.pdiparams"))
    optimiser.set_valid_places(kind)
    optimiser.set_model_type("naive_buffer")
    optimiser.set_optimize_out(str(folder / "model.") + kind)
    optimiser.run()
