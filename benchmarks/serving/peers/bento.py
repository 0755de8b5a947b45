"""BentoML: a service with an endpoint that takes an image, as its own examples have it."""

import os

import bentoml
from classify import Model
from PIL.Image import Image

THREADS = int(os.environ["SERVER_THREADS"])


@bentoml.service(threads=THREADS, traffic={"timeout": 60})
class Classifier:
    """Classifies uploaded images."""

    def __init__(self) -> None:
        self.model = Model()

    @bentoml.api
    def classify(self, image: Image) -> list[dict[str, float]]:
        """Answer one image."""
        return self.model.top(self.model.logits(self.model.fitted(image)[None])[0])
