"""Who takes part: environments, networks, and each side's way of running them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Interpolation = Literal["bilinear", "bicubic", "cv2-linear"]


class Subject(NamedTuple):
    """One network, which everybody has with the same weights under a name of his own."""

    ours: str
    timm: str | None
    paddle: str | None


SUBJECTS = (
    Subject("mobilenetv2_100", "mobilenetv2_100", None),
    # PaddleClas's channel counts are not rounded, and its first block expands.
    Subject("MobileNetV2", None, "MobileNetV2"),
    Subject("ReXNet_1_0", "rexnet_100", "ReXNet_1_0"),
)

ENVIRONMENTS = {
    "ours": ".venv",
    "base": ".venv-base",
    "timm": ".venv-timm",
    "paddle": ".venv-paddle",
    "ncnn": ".venv-ncnn",
    "mnn": ".venv-mnn",
}
"""Name to the folder that a Make target of the name ``FOLDER/.bench`` makes."""

SIDES: tuple[tuple[str, Interpolation], ...] = (("paddle", "cv2-linear"), ("timm", "bicubic"))
"""Whose way of resizing is which."""
PRECISIONS = ("fp32", "bf16", "int8")
"""Those of ours that take part, plain fp32 first."""
EXACT = 1e-3
"""How far probabilities of fp32 may be from PyTorch's; engines without fast paths are at 1e-6."""


@dataclass(frozen=True)
class Contender:
    """A network on an engine, or a way from files to answers.

    Attributes:
        name: unique within a comparison.
        environment: a key of :data:`ENVIRONMENTS`.
        worker: name of the file in ``workers/``.
        setting: what the worker takes for precision.
        threads: how many the engine gets.
        subject: our name of the network; rows of one subject stand together.
        model: the file to open, below the folder of models.
        fp32: whether it computes in plain fp32.
        cores: how many processors it may use.
        against: names of our contenders that it is compared with; of files, the first says what
            top-1 should be.
    """

    name: str
    environment: str
    worker: str
    setting: str
    threads: int
    subject: str
    model: str
    cores: int
    fp32: bool = True
    against: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is Fleetnet."""
        return self.worker == "with_fleetnet"

    @property
    def process(self) -> tuple[str, str, str, int, int]:
        """What contenders have in common that one process serves."""
        return self.environment, self.worker, self.setting, self.threads, self.cores


def networks(threads: int) -> list[Contender]:
    """Return everybody's networks on a number of threads."""
    return [one for subject in SUBJECTS for one in _networks_of(subject, threads)]


def _networks_of(subject: Subject, threads: int) -> Iterator[Contender]:
    def named(name: str) -> str:
        return f"{subject.ours}: {name}"

    against = tuple(named(f"fleetnet, {precision}") for precision in PRECISIONS)

    def peer(
        name: str,
        environment: str,
        worker: str,
        setting: str,
        model: str,
        *,
        fp32: bool = True,
        against: tuple[str, ...] = against,
    ) -> Contender:
        return Contender(
            named(name),
            environment,
            worker,
            setting,
            threads,
            subject.ours,
            model,
            threads,
            fp32,
            against,
        )

    def our(name: str, environment: str, setting: str, *, fp32: bool = True) -> Contender:
        model = f"{subject.ours}.bicubic.bundle"
        return peer(name, environment, "with_fleetnet", setting, model, fp32=fp32, against=())

    for precision in PRECISIONS:
        exact = precision == "fp32"
        yield our(f"fleetnet, {precision}", "base", f"openvino:{precision}", fp32=exact)
    yield our("fleetnet in ONNX Runtime", "ours", "onnxruntime:fp32")
    if subject.paddle:
        model = f"{subject.paddle}.paddle/inference.json"
        yield peer("PaddleClas in Paddle Inference", "paddle", "with_paddle", "fp32", model)
    if subject.timm:
        onnx, state = f"{subject.timm}.onnx", f"{subject.timm}.pth"
        param, mnn = f"{subject.timm}.ncnn.param", f"{subject.timm}.mnn"
        yield peer("timm in ONNX Runtime", "timm", "with_onnxruntime", "fp32", onnx)
        yield peer("timm in OpenVINO, fp32", "timm", "with_openvino", "fp32", onnx)
        yield peer(
            "timm in OpenVINO, default", "timm", "with_openvino", "default", onnx, fp32=False
        )
        yield peer("timm in PyTorch", "timm", "with_torch", "eager", state)
        yield peer("timm in PyTorch, compiled", "timm", "with_torch", "compiled", state)
        yield peer("timm in ncnn, fp32", "ncnn", "with_ncnn", "fp32", param)
        yield peer("timm in ncnn, default", "ncnn", "with_ncnn", "default", param, fp32=False)
        yield peer("timm in ncnn, bf16", "ncnn", "with_ncnn", "bf16", param, fp32=False)
        yield peer("timm in MNN, high", "mnn", "with_mnn", "high", mnn)
        yield peer("timm in MNN, low", "mnn", "with_mnn", "low", mnn, fp32=False)


def file_roads(cores: int) -> list[Contender]:
    """Return everybody's ways from files to the five best classes, on a number of cores."""
    found: list[Contender] = []
    for side, interpolation in SIDES:
        for subject in SUBJECTS:
            theirs = subject.paddle if side == "paddle" else subject.timm
            if theirs is not None:
                found += _roads_of(subject, theirs, side, interpolation, cores)
    return found


def _roads_of(
    subject: Subject, theirs: str, side: str, interpolation: Interpolation, cores: int
) -> Iterator[Contender]:
    group = f"{subject.ours}, {interpolation}"
    against = tuple(f"{group}: fleetnet, {precision}" for precision in PRECISIONS)

    def our(name: str, precision: str, resize: Interpolation, base: tuple[str, ...]) -> Contender:
        model = f"{subject.ours}.{resize}.bundle"
        setting = f"openvino:{precision}"
        exact = precision == "fp32"
        return Contender(
            name, "base", "with_fleetnet", setting, cores, group, model, cores, exact, base
        )

    for name, precision in zip(against, PRECISIONS, strict=True):
        yield our(name, precision, interpolation, () if precision == "fp32" else against[:1])
    if side == "paddle":
        # OpenCV's way is for PaddleClas's weights; what Fleetnet trains has its own.
        name = f"{group}: fleetnet, bf16, bilinear"
        yield our(name, "bf16", "bilinear", against[:1])
    style, worker, model = {
        "paddle": ("PaddleClas-style", "with_paddle", f"{theirs}.paddle/inference.json"),
        "timm": ("timm-style", "with_onnxruntime", f"{theirs}.onnx"),
    }[side]
    for threads in sorted({1, cores}):
        count = "1 thread" if threads == 1 else f"{threads} threads"
        name = f"{group}: {style}, {count}"
        yield Contender(name, side, worker, "fp32", threads, group, model, cores, True, against)


PACKAGES = {
    "base": ("fleetnet",),
    "timm": ("timm", "torch", "torchvision", "onnxruntime", "pillow"),
    "paddle": ("paddlepaddle", "opencv-python-headless"),
}
"""What each way from files to answers imports; what these need in turn comes with them."""
