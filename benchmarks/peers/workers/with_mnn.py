"""timm's export, converted by mnnconvert, in MNN. Precisions: MNN's ``high`` (fp32) or ``low``."""

from __future__ import annotations

from typing import Any

from channel import Answers, serve


class Mnn:
    """MNN by its interpreter and sessions."""

    def __init__(self, threads: int, precision: str) -> None:
        import MNN

        self.mnn = MNN
        self.threads = threads
        self.precision = precision

    def about(self) -> str:
        """Say version and precision."""
        return f"MNN {self.mnn.version()}, precision {self.precision}"

    def network(self, model: str, inputs: str) -> Any:
        """Load an ``.mnn`` file."""
        import numpy as np
        from floats import FloatNetwork, load_floats

        mnn = self.mnn
        interpreter = mnn.Interpreter(model)
        session = interpreter.createSession(
            {"numThread": self.threads, "backend": "CPU", "precision": self.precision}
        )
        entry = interpreter.getSessionInput(session)
        exit_ = interpreter.getSessionOutput(session)
        shape = tuple(exit_.getShape())
        layout = mnn.Tensor_DimensionType_Caffe
        answer = np.empty(shape, np.float32)
        target = mnn.Tensor(shape, mnn.Halide_Type_Float, answer, layout)

        def compute(x: Any) -> Any:
            entry.copyFrom(mnn.Tensor(x.shape, mnn.Halide_Type_Float, x, layout))
            interpreter.runSession(session)
            exit_.copyToHostTensor(target)
            return np.array(target.getData(), np.float32)

        return FloatNetwork(compute, load_floats(inputs))

    def files(self, model: str) -> Answers:
        """Not compared."""
        raise NotImplementedError(model)


if __name__ == "__main__":
    serve(Mnn)
