"""timm's export in ONNX Runtime; files as timm's and torchvision's examples read them."""

from __future__ import annotations

from typing import Any

from channel import Answers, serve


class OnnxRuntime:
    """ONNX Runtime as it comes, but for the number of threads."""

    def __init__(self, threads: int, precision: str) -> None:
        import onnxruntime

        if precision not in ("fp32", "pipelined"):
            raise ValueError(f"no {precision} here")
        self.threads = threads
        self.pipelined = precision == "pipelined"
        self.version = onnxruntime.__version__

    def about(self) -> str:
        """Say the version."""
        return f"ONNX Runtime {self.version}"

    def session(self, model: str) -> Any:
        """Open an ONNX file."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1 if self.pipelined else self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def network(self, model: str, inputs: str) -> Any:
        """Open an ONNX file for made inputs."""
        from floats import FloatNetwork, load_floats

        session = self.session(model)
        name = session.get_inputs()[0].name
        return FloatNetwork(lambda x: session.run(None, {name: x})[0], load_floats(inputs))

    def files(self, model: str) -> Answers:
        """Pillow, timm's transforms of its own settings, and the session.

        Image after image, or pipelined: so many images at once as there are threads, each with
        one thread from its file to its answer.
        """
        from floats import best_five, every, softmax
        from PIL import Image
        from timm_side import timm_transform, torch

        # The transforms end in PyTorch's: pipelined, each file has a thread, and no more.
        torch.set_num_threads(1 if self.pipelined else self.threads)

        session = self.session(model)
        name = session.get_inputs()[0].name
        transform = timm_transform(model)

        def one(path: str) -> list[int]:
            pixels = transform(Image.open(path).convert("RGB")).unsqueeze(0).numpy()
            return best_five(softmax(session.run(None, {name: pixels})[0][0]))

        return every(one, self.threads if self.pipelined else 1)


if __name__ == "__main__":
    serve(OnnxRuntime)
