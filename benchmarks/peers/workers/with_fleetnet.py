"""Fleetnet: ``uint8`` pixels in, normalisation included. Arguments: threads, engine:precision."""

from __future__ import annotations

from typing import Any, cast

from channel import Answers, serve


class Fleetnet:
    """The network by ``Engine.run``, files by the public API."""

    def __init__(self, threads: int, setting: str) -> None:
        import fleetnet

        self.threads = threads
        self.engine, _, precision = setting.partition(":")
        self.precision = cast("Any", precision)  # Fleetnet checks it
        self.version = fleetnet.__version__

    def about(self) -> str:
        """Say versions."""
        import importlib.metadata

        runtime = importlib.metadata.version(self.engine)
        return f"fleetnet {self.version}, {self.engine} {runtime}, {self.precision}"

    def network(self, model: str, inputs: str) -> Opened:
        """Open a bundle."""
        return Opened(self, model, inputs)

    def files(self, model: str) -> Answers:
        """Open a bundle for as many images a second as can be."""
        from fleetnet import Classifier

        classifier = Classifier(
            model,
            engine=self.engine,
            threads=self.threads,
            precision=self.precision,
            mode="throughput",
        )

        def answers(paths: list[str]) -> list[list[int]]:
            found = classifier.predict(paths, top_k=5)
            return [[score.index for score in prediction.top] for prediction in found]

        return answers


class Opened:
    """One network."""

    def __init__(self, peer: Fleetnet, model: str, inputs: str) -> None:
        import numpy as np

        from fleetnet import Bundle
        from fleetnet.inference.engines import open_engine

        self.engine = open_engine(
            peer.engine, Bundle.load(model), peer.threads, precision=peer.precision
        )
        self.pixels = [pixels[None] for pixels in np.load(inputs)["pixels"]]

    def run(self, number: int) -> Any:
        """Return the logits."""
        return self.engine.run(self.pixels[number])

    def probabilities(self, number: int) -> Any:
        """Return the probabilities."""
        from fleetnet.inference.probabilities import softmax

        return softmax(self.run(number))[0]


if __name__ == "__main__":
    serve(Fleetnet)
