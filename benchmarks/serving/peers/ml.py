"""MLServer: a runtime of its own, asked by the Open Inference Protocol with base64 in JSON."""

import asyncio

from classify import Model
from mlserver import MLModel
from mlserver.codecs import Base64Codec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    """Classifies encoded images."""

    async def load(self) -> bool:
        """Open the network in a worker."""
        self.model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer the images of a request."""
        images = Base64Codec.decode_input(payload.inputs[0])
        tops = await asyncio.to_thread(lambda: [self.model(image) for image in images])
        return InferenceResponse(
            model_name=self.name,
            outputs=[StringCodec.encode_output("top", [str(top) for top in tops])],
        )
