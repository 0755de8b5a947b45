"""Train a network, export it and evaluate the bundle.

python examples/train.py DATA FOLDER [SETTING=VALUE…]
"""

import sys
from pathlib import Path

from fleetnet import Classifier, Recipe, export_bundle, train
from fleetnet.data.sources import open_source
from fleetnet.data.splits import split
from fleetnet.evaluation.evaluate import evaluate
from fleetnet.evaluation.figures import summarise

NETWORK = "MobileNetV2_x0_25"


def main(data: str, folder: str, *settings: str) -> None:
    """Train on ``data``, and write the run and a verified bundle to ``folder``."""
    source = open_source(data)
    recipe = Recipe.load("finetune", settings, NETWORK)
    result = train(source, NETWORK, recipe, folder)
    for epoch in result.history:
        print(f"epoch {epoch.epoch}: loss {epoch.train_loss:.3f}, top-1 {epoch.top1:.1%}")

    # Nothing is written unless ONNX Runtime and OpenVINO answer as PyTorch does.
    bundle = export_bundle(result.best, Path(folder) / "model.bundle")

    held_out = split(source, recipe.data.val_fraction, recipe.seed).val
    with Classifier(bundle) as classifier:
        top1 = summarise(evaluate(classifier, source, held_out))["top1"]
    print(f"{bundle.path}: top-1 {top1.value:.1%} on {len(held_out)} held-out images")


# Training starts worker processes, which import this file: they must not train as well.
if __name__ == "__main__":
    main(*sys.argv[1:])
