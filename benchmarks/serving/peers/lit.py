"""LitServe: so many workers as there are threads, each with the network on one thread."""

import os
from typing import Any

import litserve
import numpy as np
from classify import Model


class Classify(litserve.LitAPI):
    """Classifies uploaded images."""

    def setup(self, _device: str) -> None:
        """Open the network in a worker."""
        self.model = Model()

    def decode_request(self, request):
        """Decode an uploaded image."""
        return self.model.pixels(request["image"].file.read())

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Compute one image."""
        return self.model.logits(pixels[None])[0]

    def encode_response(self, logits: np.ndarray) -> Any:
        """Name the best classes."""
        return self.model.top(logits)


if __name__ == "__main__":
    server = litserve.LitServer(
        Classify(), accelerator="cpu", workers_per_device=int(os.environ["SERVER_THREADS"])
    )
    server.run(host="127.0.0.1", port=int(os.environ["PORT"]), generate_client_file=False)
