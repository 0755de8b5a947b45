"""timm's network, converted by pnnx, in ncnn. Precisions: fp32, default or bf16."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from channel import Answers, serve


class Ncnn:
    """ncnn with its options as they come, but for precision and the number of threads."""

    def __init__(self, threads: int, precision: str) -> None:
        import ncnn

        self.ncnn = ncnn
        self.threads = threads
        self.precision = precision

    def about(self) -> str:
        """Say the version, and every option about the numbers' width."""
        options = self.options(self.ncnn.Net().opt)
        names = [name for name in dir(options) if "fp16_" in name or "bf16_" in name]
        on = [name for name in names if getattr(options, name)]
        return f"ncnn {self.ncnn.__version__}, {', '.join(on) or 'neither fp16 nor bf16'}"

    def options(self, options: Any) -> Any:
        """Set the options of a network that has not been loaded yet."""
        options.num_threads = self.threads
        if self.precision == "fp32":
            options.use_fp16_packed = False
            options.use_fp16_storage = False
            options.use_fp16_arithmetic = False
        if self.precision == "bf16":
            options.use_bf16_storage = True
        return options

    def network(self, model: str, inputs: str) -> Any:
        """Load a ``.param`` file and the ``.bin`` beside it."""
        import numpy as np
        from floats import FloatNetwork, load_floats

        net = self.ncnn.Net()
        self.options(net.opt)
        weights = str(Path(model).with_suffix(".bin"))
        if net.load_param(model) or net.load_model(weights):
            raise ValueError(f"ncnn cannot load {model}")

        def compute(x: Any) -> Any:
            extractor = net.create_extractor()
            extractor.input("in0", self.ncnn.Mat(x[0]))
            status, out = extractor.extract("out0")
            if status:
                raise ValueError(f"ncnn cannot compute {model}: status {status}")
            return np.array(out)

        return FloatNetwork(compute, load_floats(inputs))

    def files(self, model: str) -> Answers:
        """Not compared."""
        raise NotImplementedError(model)


if __name__ == "__main__":
    serve(Ncnn)
