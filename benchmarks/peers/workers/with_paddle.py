"""PaddleClas's networks in Paddle Inference; files as PaddleClas's own script reads them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from channel import Answers, serve


class Paddle:
    """Paddle Inference with what PaddleClas's script turns on: oneDNN, passes, memory reuse."""

    def __init__(self, threads: int, precision: str) -> None:
        import paddle

        if precision not in ("fp32", "pipelined"):
            raise ValueError(f"no {precision} here")
        self.threads = threads
        self.pipelined = precision == "pipelined"
        self.version = paddle.__version__

    def about(self) -> str:
        """Say the version and the settings."""
        return f"Paddle Inference {self.version}, oneDNN, memory optimisation, new IR"

    def compute(self, model: str) -> Any:
        """Return a function that maps ``float32[1, 3, H, W]`` to probabilities."""
        from paddle.inference import Config, create_predictor

        config = Config(str(Path(model).parent), Path(model).stem)
        config.disable_gpu()
        config.set_mkldnn_cache_capacity(10)
        config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(1 if self.pipelined else self.threads)
        config.disable_glog_info()
        config.switch_ir_optim(True)
        config.enable_new_ir(True)
        config.enable_new_executor(True)
        config.enable_memory_optim()
        predictor = create_predictor(config)
        entry = predictor.get_input_handle(predictor.get_input_names()[0])
        exit_ = predictor.get_output_handle(predictor.get_output_names()[0])

        def compute(x: Any) -> Any:
            entry.copy_from_cpu(x)
            predictor.run()
            return exit_.copy_to_cpu()

        return compute

    def network(self, model: str, inputs: str) -> PaddleNetwork:
        """Open a model for made inputs."""
        from floats import load_floats

        return PaddleNetwork(self.compute(model), load_floats(inputs))

    def files(self, model: str) -> Answers:
        """Decode, resize the short side, crop, normalise, transpose and predict, by OpenCV.

        Image after image, or pipelined: so many images at once as there are threads, each with
        one thread from its file to its answer, and a predictor of its own.
        """
        import cv2
        import numpy as np
        from floats import best_five, every

        cv2.setNumThreads(1 if self.pipelined else self.threads)
        mine = threading.local()
        mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 1, 3)
        std = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 1, 3)

        def one(path: str) -> list[int]:
            if not hasattr(mine, "compute"):
                mine.compute = self.compute(model)
            image = cv2.imread(path)[:, :, ::-1]
            height, width = image.shape[:2]
            scale = 256 / min(height, width)
            size = (round(width * scale), round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
            left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
            image = image[top : top + 224, left : left + 224, :]
            image = (image.astype(np.float32) * np.float32(1 / 255) - mean) / std
            return best_five(mine.compute(np.array([image.transpose(2, 0, 1)]))[0])

        return every(one, self.threads if self.pipelined else 1)


class PaddleNetwork:
    """A network whose graph ends in its softmax."""

    def __init__(self, compute: Any, inputs: list[Any]) -> None:
        self.compute = compute
        self.inputs = inputs

    def run(self, number: int) -> Any:
        """Compute one input."""
        return self.compute(self.inputs[number])

    def probabilities(self, number: int) -> Any:
        """Return the graph's output."""
        return self.run(number)[0]


if __name__ == "__main__":
    serve(Paddle)
