"""timm's export in OpenVINO. Precisions: fp32, or default, which OpenVINO chooses itself."""

from __future__ import annotations

from typing import Any

from channel import Answers, serve


class OpenVino:
    """OpenVINO told to answer soon, as its guide for such use says."""

    def __init__(self, threads: int, precision: str) -> None:
        import openvino

        self.threads = threads
        self.precision = precision
        self.core = openvino.Core()
        self.version = openvino.__version__.partition("-")[0]

    def about(self) -> str:
        """Say version and precision."""
        return f"OpenVINO {self.version}, {self.precision}"

    def network(self, model: str, inputs: str) -> Any:
        """Compile an ONNX file."""
        from floats import FloatNetwork, load_floats

        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self.threads,
        }
        if self.precision == "fp32":
            options["INFERENCE_PRECISION_HINT"] = "f32"
        compiled = self.core.compile_model(self.core.read_model(model), "CPU", options)
        return FloatNetwork(lambda x: compiled(x)[0], load_floats(inputs))

    def files(self, model: str) -> Answers:
        """Not compared."""
        raise NotImplementedError(model)


if __name__ == "__main__":
    serve(OpenVino)
