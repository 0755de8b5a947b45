"""Print what is on images.

python examples/predict.py MODEL IMAGE…
"""

import sys

from fleetnet import Classifier


def main(model: str, *images: str) -> None:
    """Print the two most probable classes of each image."""
    # "latency", the default, has the answer to one image soonest; this has many a second.
    with Classifier(model, mode="throughput") as classifier:
        for prediction in classifier.predict(images, top_k=2):
            if prediction.ok:
                scores = ", ".join(
                    f"{score.label} {score.probability:.3f}" for score in prediction.top
                )
                print(f"{prediction.source}: {scores}")
            else:
                print(f"{prediction.source}: {prediction.error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
