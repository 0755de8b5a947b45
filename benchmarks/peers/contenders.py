"""The contenders: environments, networks, and how each project runs them.

Like is compared with like: random weights, which every project can load, are compared only in fp32.
Lower precision changes answers in ways that only trained weights show, and is compared on those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Interpolation = Literal["bilinear", "bicubic", "cv2-linear"]


class SharedNetwork(NamedTuple):
    """A network that every project has under its own name, with the same weights."""

    ours: str
    timm: str | None
    paddle: str | None


SUBJECTS = (
    SharedNetwork("mobilenetv2_100", "mobilenetv2_100", None),
    # PaddleClas's channel counts are not rounded, and its first block expands.
    SharedNetwork("MobileNetV2", None, "MobileNetV2"),
    SharedNetwork("ReXNet_1_0", "rexnet_100", "ReXNet_1_0"),
)

ENVIRONMENTS = {
    "ours": ".venv",
    "base": ".venv-base",
    "trained": ".venv-pipeline",
    "timm": ".venv-timm",
    "paddle": ".venv-paddle",
    "ncnn": ".venv-ncnn",
    "mnn": ".venv-mnn",
}
"""Name to the folder that a Make target of the name ``FOLDER/.bench`` makes."""

SIDES: tuple[tuple[str, Interpolation], ...] = (("paddle", "cv2-linear"), ("timm", "bicubic"))
"""The project whose way of resizing each is."""
FEWER_BITS = ("bf16", "int8")
"""Those of our precisions that are compared on trained weights."""
LITE0 = "tf_efficientnet_lite0"
"""The network that a package carries with weights trained on ImageNet."""
PIPELINED = "pipelined"
"""A peer that reads and decodes images while it computes others, as ours does."""
EXACT = 1e-3
"""How far probabilities of fp32 may be from PyTorch's; engines without fast paths are at 1e-6."""


class Trained(NamedTuple):
    """A network with trained weights.

    Attributes:
        title: its name in the tables.
        file: beginning of its files' names.
        int8: whether it passes the guard in int8.
        note: which layers the guard kept in fp32, or why it failed.
    """

    title: str
    file: str
    int8: bool
    note: str


@dataclass(frozen=True)
class Contender:
    """A network on an engine, or a way from files to answers.

    Attributes:
        name: unique within a comparison.
        environment: a key of :data:`ENVIRONMENTS`.
        worker: name of the file in ``workers/``.
        setting: the worker's argument for the precision.
        threads: of the engine.
        subject: our name of the network; rows of one subject are together.
        model: the file to open, below the folder of models.
        fp32: whether it computes in plain fp32.
        cores: how many processors it may use.
        against: names of our contenders that it is compared with; for files, the first one's
            top-1 is the one expected.
        data: beginning of the names of the files with its inputs and expected answers; empty for
            random weights.
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
    data: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is Fleetnet."""
        return self.worker == "with_fleetnet"

    @property
    def process(self) -> tuple[str, str, str, int, int]:
        """What contenders must have in common to share a process."""
        return self.environment, self.worker, self.setting, self.threads, self.cores


def networks(threads: int) -> list[Contender]:
    """Return every project's networks in fp32 on a number of threads, with random weights."""
    return [one for subject in SUBJECTS for one in _networks_of(subject, threads)]


def _networks_of(subject: SharedNetwork, threads: int) -> Iterator[Contender]:
    group = subject.ours
    bundle = f"{group}.bicubic.bundle"
    yield _network(group, "fleetnet", "base", "with_fleetnet", "openvino:fp32", threads, bundle)
    yield _network(
        group, "fleetnet in ONNX Runtime", "ours", "with_fleetnet", "onnxruntime:fp32", threads,
        bundle,
    )  # fmt: skip
    if subject.paddle:
        yield _network(
            group, "PaddleClas in Paddle Inference", "paddle", "with_paddle", "fp32", threads,
            f"{subject.paddle}.paddle/inference.json",
        )  # fmt: skip
    if subject.timm:
        for name, environment, worker, setting, ending in TIMM_ENGINES:
            yield _network(
                group, f"timm in {name}", environment, worker, setting, threads,
                f"{subject.timm}{ending}",
            )  # fmt: skip


TIMM_ENGINES = (
    ("ONNX Runtime", "timm", "with_onnxruntime", "fp32", ".onnx"),
    ("OpenVINO", "timm", "with_openvino", "fp32", ".onnx"),
    ("PyTorch", "timm", "with_torch", "eager", ".pth"),
    ("PyTorch, compiled", "timm", "with_torch", "compiled", ".pth"),
    ("ncnn", "ncnn", "with_ncnn", "fp32", ".ncnn.param"),
    ("MNN", "mnn", "with_mnn", "high", ".mnn"),
)
"""Engines of timm's networks in fp32: name, environment, worker, setting, ending of the file."""
LOW_ENGINES = (
    ("ONNX Runtime, fp32", "timm", "with_onnxruntime", "fp32", ".onnx", True),
    ("OpenVINO, as it comes", "timm", "with_openvino", "default", ".onnx", False),
    ("ncnn, as it comes", "ncnn", "with_ncnn", "default", ".ncnn.param", False),
    ("ncnn, bf16", "ncnn", "with_ncnn", "bf16", ".ncnn.param", False),
    ("MNN, low", "mnn", "with_mnn", "low", ".mnn", False),
)
"""What others offer for trained networks; the last says whether it is fp32."""


def fewer_bits(trained: Sequence[Trained], threads: int = 1) -> list[Contender]:
    """Return trained networks in the precisions that are offered, ours in int8 if it passed."""
    found: list[Contender] = []
    for one in trained:
        bundle, group = f"{one.file}.trained.bundle", one.title
        for precision in ("fp32", *FEWER_BITS):
            if precision == "int8" and not one.int8:
                continue
            found.append(
                _network(
                    group, f"fleetnet, {precision}", "base", "with_fleetnet",
                    f"openvino:{precision}", threads, bundle, fp32=precision == "fp32",
                    base="fleetnet, fp32", data=one.file,
                )
            )  # fmt: skip
        for name, environment, worker, setting, ending, exact in LOW_ENGINES:
            found.append(
                _network(
                    group, name, environment, worker, setting, threads, f"{one.file}{ending}",
                    fp32=exact, base="fleetnet, fp32", data=one.file,
                )
            )  # fmt: skip
    return found


def _network(
    group: str,
    name: str,
    environment: str,
    worker: str,
    setting: str,
    threads: int,
    model: str,
    *,
    fp32: bool = True,
    base: str = "fleetnet",
    data: str = "",
) -> Contender:
    against = () if name == base else (f"{group}: {base}",)
    return Contender(
        f"{group}: {name}", environment, worker, setting, threads, group, model, threads, fp32,
        against, data,
    )  # fmt: skip


def file_roads(cores: int) -> list[Contender]:
    """Return every project's ways from files to the five best classes, in fp32 on some cores."""
    found: list[Contender] = []
    for side, interpolation in SIDES:
        for subject in SUBJECTS:
            theirs = subject.paddle if side == "paddle" else subject.timm
            if theirs is None:
                continue
            group = f"{subject.ours}, {interpolation}"
            bundle = f"{subject.ours}.{interpolation}.bundle"
            found.append(_road(group, "fleetnet", "base", "openvino:fp32", bundle, cores))
            model = f"{theirs}.paddle/inference.json" if side == "paddle" else f"{theirs}.onnx"
            found += _roads_of_others(group, side, model, cores, "fleetnet")
    return found


def trained_roads(trained: Sequence[Trained], cores: int) -> list[Contender]:
    """Return the ways from files to answers of the network that was trained on ImageNet."""
    found: list[Contender] = []
    for one in trained:
        if one.file != LITE0:
            continue  # the others were trained on something else than photographs
        for precision in ("fp32", *FEWER_BITS):
            if precision == "int8" and not one.int8:
                continue
            found.append(
                _road(
                    one.title, f"fleetnet, {precision}", "base", f"openvino:{precision}",
                    f"{one.file}.trained.bundle", cores, fp32=precision == "fp32",
                    base="fleetnet, fp32",
                )
            )  # fmt: skip
        found += _roads_of_others(one.title, "timm", f"{one.file}.onnx", cores, "fleetnet, fp32")
    return found


def _roads_of_others(
    group: str, side: str, model: str, cores: int, base: str
) -> Iterator[Contender]:
    style = {"paddle": "PaddleClas-style", "timm": "timm-style"}[side]
    yield _road(group, f"{style}, {PIPELINED}", side, PIPELINED, model, cores, base=base)
    for threads in sorted({1, cores}):
        count = "1 thread" if threads == 1 else f"{threads} threads"
        name = f"{style}, one by one, {count}"
        yield _road(group, name, side, "fp32", model, cores, base=base, threads=threads)


def _road(
    group: str,
    name: str,
    environment: str,
    setting: str,
    model: str,
    cores: int,
    *,
    fp32: bool = True,
    base: str = "fleetnet",
    threads: int | None = None,
) -> Contender:
    worker = {"paddle": "with_paddle", "timm": "with_onnxruntime"}.get(environment, "with_fleetnet")
    against = () if name == base else (f"{group}: {base}",)
    return Contender(
        f"{group}: {name}", environment, worker, setting, threads or cores, group, model, cores,
        fp32, against,
    )  # fmt: skip


PACKAGES = {
    "base": ("fleetnet",),
    "timm": ("timm", "torch", "torchvision", "onnxruntime", "pillow"),
    "paddle": ("paddlepaddle", "opencv-python-headless"),
}
"""What each way from files to answers imports; what these need in turn comes with them."""
