"""timm in PyTorch. Precisions: eager or compiled, both fp32."""

from __future__ import annotations

from typing import Any

from channel import Answers, serve


class Torch:
    """timm's network as its users run it on a processor, in inference mode."""

    def __init__(self, threads: int, way: str) -> None:
        import torch
        from timm_side import timm

        torch.set_num_threads(threads)
        self.way = way
        self.versions = f"timm {timm.__version__}, PyTorch {torch.__version__}"

    def about(self) -> str:
        """Say versions and the way."""
        return f"{self.versions}, {self.way}"

    def network(self, model: str, inputs: str) -> Any:
        """Build a network and load its weights."""
        import torch
        from floats import FloatNetwork, load_floats
        from timm_side import timm_network

        network = timm_network(model)
        if self.way == "compiled":
            network = torch.compile(network)

        @torch.inference_mode()
        def compute(x: Any) -> Any:
            return network(x)

        opened = FloatNetwork(compute, [torch.from_numpy(x) for x in load_floats(inputs)])
        opened.run(0)
        return opened

    def files(self, model: str) -> Answers:
        """Not compared."""
        raise NotImplementedError(model)


if __name__ == "__main__":
    serve(Torch)
