"""Turn program.pt2 into model.tflite."""

import json
import sys
from pathlib import Path

import litert_torch
import torch

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
network = torch.export.load(folder / "program.pt2").module()
shape = (settings["batch"], settings["crop"], settings["crop"], 3)
example = torch.zeros(shape, dtype=torch.float32 if settings["floats"] else torch.uint8)
made = folder / "model.tflite"
litert_torch.convert(network, (example,)).export(str(made))
if settings["precision"] == "fp16":
    from ai_edge_quantizer import quantizer, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import (
        ComputePrecision,
        OpQuantizationConfig,
        TensorDataType,
        TensorQuantizationConfig,
        TFLOperationName,
    )

    recipes = recipe_manager.RecipeManager()
    recipes.add_quantization_config(
        regex=".*",
        operation_name=TFLOperationName.ALL_SUPPORTED,
        op_config=OpQuantizationConfig(
            weight_tensor_config=TensorQuantizationConfig(num_bits=16, dtype=TensorDataType.FLOAT),
            compute_precision=ComputePrecision.FLOAT,
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    halved = quantizer.Quantizer(str(made), recipes.get_quantization_recipe())
    halved.quantize().export_model(str(made), overwrite=True)
