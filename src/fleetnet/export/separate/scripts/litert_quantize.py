"""Turn model.tflite into one in int8, by ranges.json and what settings.json gives and keeps."""

import json
import re
import sys
from pathlib import Path

import numpy as np
from ai_edge_quantizer import quantizer, recipe_manager
from ai_edge_quantizer.algorithm_manager import AlgorithmName
from ai_edge_quantizer.qtyping import TFLOperationName
from litert_given import put
from litert_layers import operators_of, scope

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
ranges = {
    name: {bound: np.array(values, np.float32) for bound, values in found.items()}
    for name, found in json.loads((folder / "ranges.json").read_text("utf-8")).items()
}
network = folder / "model.tflite"
before, layers = operators_of(network.read_bytes(), settings["layers"])
put(ranges, network.read_bytes(), layers, settings)
recipes = recipe_manager.RecipeManager()
recipes.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, 8, 8)
# Normalisation, which comes before the first layer, stays as it is where memory allows.
kept = [] if settings["whole"] else before
kept = [*kept, *(operator for name in settings["kept"] for operator in layers[name])]
for known in dict.fromkeys(scope(*operator) for operator in kept):
    recipes.add_quantization_config(
        f"^{re.escape(known)}$",
        TFLOperationName.ALL_SUPPORTED,
        algorithm_key=AlgorithmName.NO_QUANTIZE,
    )
if settings["whole"]:
    # The quantiser knows the network's output by the name of the operator that gives it: where that
    # one is kept, its values are rounded to bytes behind it. Later recipes come before earlier ones
    # of another expression, and this one is that of all operators.
    recipes.add_static_config("", TFLOperationName.OUTPUT, 8, 8)
rounding = quantizer.Quantizer(str(network), recipes.get_quantization_recipe())
rounding.quantize(ranges).export_model(str(network), overwrite=True)
