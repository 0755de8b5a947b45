"""Engines on other devices than the processor, which made-up runtimes have."""

import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import fleetnet
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.comparison import compare
from fleetnet.inference.engines import (
    ENGINES,
    Setup,
    devices,
    engines_on,
    find_device,
    open_engine,
    precisions,
)
from fleetnet.inference.engines import onnxruntime as onnxruntime_engine
from fleetnet.inference.engines import openvino as openvino_engine

NATIVE = ("openvino", "onnxruntime", "torch")
CAPABILITIES = {"GPU.0": ["FP32", "FP16", "INT8"], "GPU.1": ["FP32"], "NPU": ["FP16", "INT8"]}


class Core:
    """OpenVINO with two GPUs and an NPU, whose work the processor does."""

    available_devices = ["CPU", "GPU.0", "GPU.1", "NPU"]  # noqa: RUF012

    def __init__(self, real: Any) -> None:
        self._real = real
        self.compiled: list[tuple[str, dict[str, object]]] = []
        self.failure: Exception | None = None

    def get_property(self, device: str, name: str) -> Any:
        if device == "CPU":
            return self._real.get_property(device, name)
        if name == "OPTIMIZATION_CAPABILITIES":
            return CAPABILITIES[device]
        assert name == "SUPPORTED_PROPERTIES"
        return ["PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT"]

    def compile_model(self, model: Any, device: str, options: dict[str, object]) -> Any:
        self.compiled.append((device, options))
        if self.failure is not None and device != "CPU":
            raise self.failure
        exact = {**options, "INFERENCE_PRECISION_HINT": "f32"}
        return self._real.compile_model(model, "CPU", exact)


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> Core:
    made = Core(openvino_engine.core())
    monkeypatch.setattr(openvino_engine, "core", lambda: made)
    return made


@pytest.fixture
def black(bundle: Bundle) -> np.ndarray:
    crop = bundle.manifest.preprocess.crop
    return np.zeros((2, crop, crop, 3), np.uint8)


@pytest.mark.parametrize("name", NATIVE)
def test_every_engine_has_the_processor_and_is_on_it_unasked(
    name: str, bundle: Bundle, black: np.ndarray
) -> None:
    assert devices(name)[0] == "cpu"
    assert find_device(name, "CPU") == "cpu"
    with (
        open_engine(name, bundle, 1) as engine,
        open_engine(name, bundle, 1, device="Cpu") as named,
    ):
        assert engine.device == named.device == "cpu"
        assert np.array_equal(engine.run(black), named.run(black))
    with Classifier(bundle, engine=name, device="cpu") as classifier:
        assert classifier.engine.device == "cpu"


@pytest.mark.parametrize("name", NATIVE)
def test_a_device_that_is_not_there_is_refused_with_those_that_are(
    name: str, bundle: Bundle
) -> None:
    there = " or ".join(devices(name))
    with pytest.raises(FleetnetError) as refused:
        open_engine(name, bundle, 1, device="tpu:7")
    assert str(refused.value) == (f"{name} finds no device 'tpu:7' on this machine: choose {there}")
    with pytest.raises(FleetnetError, match="finds no device 'tpu:7'"):
        Classifier(bundle, engine=name, device="tpu:7")
    with pytest.raises(FleetnetError, match=r"openvino finds no device 'x'.*; torch finds no"):
        engines_on("x", ("openvino", "torch"))


def test_openvinos_devices_are_named_as_it_names_them(core: Core, bundle: Bundle) -> None:
    assert devices("openvino") == ("cpu", "gpu.0", "gpu.1", "npu")
    for word, found in (("GPU", "gpu.0"), ("gpu.0", "gpu.0"), ("GPU.1", "gpu.1"), ("npu", "npu")):
        assert find_device("openvino", word) == found
    assert precisions("openvino", bundle, "gpu") == ("fp32", "fp16")
    assert precisions("openvino", bundle, "gpu.1") == ("fp32",)
    assert precisions("openvino", bundle, "npu") == ("fp16",)
    assert engines_on("gpu.1", ("openvino", "onnxruntime")) == {"openvino": "gpu.1"}


def test_openvino_computes_on_what_was_asked_for(
    core: Core, bundle: Bundle, black: np.ndarray
) -> None:
    with open_engine("openvino", bundle, 2) as engine:
        expected = engine.run(black)
    assert core.compiled[0][0] == "CPU"
    assert core.compiled[0][1]["INFERENCE_NUM_THREADS"] == 2
    core.compiled.clear()
    with open_engine("openvino", bundle, 2, device="gpu", mode="throughput") as engine:
        assert (engine.device, engine.precision) == ("gpu.0", "fp32")
        assert np.array_equal(engine.run(black), expected)
        comparison = compare(engine, black, expected)
    assert {device for device, _ in core.compiled} == {"GPU.0"}
    # Of the options, those that the device takes.
    assert all(
        set(options) == {"PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT"}
        for _, options in core.compiled
    )
    assert comparison.device == comparison.record("photos", 1e-4).device == "gpu.0"
    assert comparison.passes(1e-4)


def test_a_device_that_does_not_offer_a_precision_says_which_it_has(
    core: Core, bundle: Bundle
) -> None:
    with pytest.raises(
        FleetnetError, match="openvino does not offer fp32 on the device npu: choose fp16"
    ):
        open_engine("openvino", bundle, 1, device="npu")
    with open_engine("openvino", bundle, 1, device="npu", precision="fp16") as engine:
        assert engine.device == "npu"


def test_a_device_that_does_not_work_is_reported_when_it_is_opened(
    core: Core, bundle: Bundle
) -> None:
    core.failure = RuntimeError("out of\nmemory")
    with pytest.raises(FleetnetError, match=r"fp32 on the device gpu\.1: out of memory"):
        open_engine("openvino", bundle, 1, device="gpu.1")


def test_a_driver_that_breaks_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    def broken() -> Any:
        raise RuntimeError("driver\ncrashed")

    monkeypatch.setattr(openvino_engine, "core", broken)
    with pytest.raises(FleetnetError, match="cannot tell which devices there are: driver crashed"):
        devices("openvino")


class Session:
    """ONNX Runtime's session, which takes any provider and has the processor do its work."""

    broken = False
    asked: Any = None

    def __init__(self, onnx: bytes, options: Any, providers: Any) -> None:
        type(self).asked = providers
        self._real = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_providers(self) -> list[str]:
        names = [one if isinstance(one, str) else one[0] for one in self.asked]
        return names[1:] if self.broken else names


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "Azure", "CPU")]
    made = SimpleNamespace(
        get_available_providers=lambda: there,
        InferenceSession=Session,
        SessionOptions=onnxruntime.SessionOptions,
        __version__="1",
    )
    monkeypatch.setattr(onnxruntime_engine, "ort", made)
    monkeypatch.setattr(Session, "broken", False)


@pytest.mark.usefixtures("providers")
def test_onnx_runtimes_devices_are_its_execution_providers(
    bundle: Bundle, black: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Azure's would send the images away: it is no device of this machine.
    assert devices("onnxruntime") == ("cpu", "tensorrt", "cuda")
    for word in ("cuda", "CUDA", "CUDAExecutionProvider", "cuda:0"):
        assert find_device("onnxruntime", word) == "cuda"
    with open_engine("onnxruntime", bundle, 1) as engine:
        expected = engine.run(black)
    assert Session.asked == ["CPUExecutionProvider"]
    with open_engine("onnxruntime", bundle, 1, device="cuda") as engine:
        assert engine.device == "cuda"
        assert np.array_equal(engine.run(black), expected)
    assert Session.asked == [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    monkeypatch.setattr(Session, "broken", True)
    with pytest.raises(FleetnetError, match="cannot use the device cuda: its driver or libraries"):
        open_engine("onnxruntime", bundle, 1, device="cuda")


def test_pytorchs_devices(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices("torch") == devices("torch-compiled") == ("cpu", "cuda", "mps")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices("torch") == ("cpu", "cuda:0", "cuda:1", "mps")
    assert find_device("torch", "cuda") == "cuda:0"
    assert precisions("torch", bundle, "cuda:1") == ("fp32", "bf16", "fp16")
    assert precisions("torch", bundle, "mps") == ("fp32", "fp16")

    def full(*_: object) -> Any:
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(FleetnetError, match="torch cannot use the device cuda:1: CUDA out of mem"):
        open_engine("torch", bundle, 1, device="cuda:1")


def test_pytorchs_engine_is_where_its_network_is(bundle: Bundle) -> None:
    with ENGINES["torch"].open(bundle, Setup()) as engine:
        assert engine.device == "cpu"


def test_the_packages_classifier_takes_all_arguments_of_the_one_below() -> None:
    above, below = (
        set(inspect.signature(one).parameters) for one in (fleetnet.Classifier, Classifier)
    )
    assert above == below


def test_naming_what_auto_chooses_is_refused(bundle: Bundle) -> None:
    with pytest.raises(FleetnetError, match="engine 'auto' chooses the device"):
        Classifier(bundle, engine="auto", device="cpu")
