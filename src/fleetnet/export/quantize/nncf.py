"""Post-training quantisation for OpenVINO, by NNCF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fleetnet.errors import BundleError, one_line, reason_of
from fleetnet.export.openvino_ir import to_ir
from fleetnet.export.quantize.layers import Layer, read_graph
from fleetnet.export.quantize.quantizer import Quantized, step
from fleetnet.export.quantize.quiet import quiet
from fleetnet.export.quantize.rounding import TOLD, Rounding
from fleetnet.export.quantize.shared import join_silu, of_ir
from fleetnet.inference.engines import Pixels
from fleetnet.inference.engines.openvino import core, read_onnx
from fleetnet.reporting import Advance, Begin
from fleetnet.telemetry import without_telemetry

with without_telemetry(), quiet():
    import nncf
    import nncf.openvino.cpu_info
    import nncf.openvino.engine
    import openvino as ov
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    from openvino.passes import ConstantFolding, Manager


class _OneCore:
    """OpenVINO as NNCF sees it: with the process's one core, for the reason that core() gives."""

    Core = staticmethod(core)

    def __getattr__(self, name: str) -> Any:
        return getattr(ov, name)


for _module in (nncf.openvino.cpu_info, nncf.openvino.engine):
    vars(_module)["ov"] = _OneCore()


class OpenVinoQuantizer:
    """Quantises a graph as NNCF does, with the ranges and bias that measurement found best.

    Weights are symmetric in 8 bits with a scale for each channel, activations asymmetric: SiLU and
    the sums behind it are not symmetric about 0.

    Args:
        content: an ONNX file as export writes it.
        where: names it in errors.
        calibration: real images, ``uint8[N, crop, crop, 3]``.
        weight_bits: 8, or 7, which is exact also on processors without VNNI.
        begin: called with each calibration; there is one for each network.
        correct_bias: move each layer's bias by what rounding changes in the mean of its outputs
            (Nagel et al. 2019, section 4.2; NNCF's fast one).
        rounding: of the weights, where they are not to be rounded one by one.

    Raises:
        BundleError: OpenVINO cannot read the graph.
    """

    engine = "openvino"
    tool = f"nncf {nncf.__version__}"

    def __init__(
        self,
        content: bytes,
        where: str,
        calibration: Pixels,
        weight_bits: int,
        begin: Begin,
        *,
        correct_bias: bool = False,
        rounding: Rounding | None = None,
    ) -> None:
        self._correct_bias = correct_bias
        if correct_bias:
            self.tool = f"{self.tool} with bias correction"
        self._content, self._where, self._rounding = content, where, rounding
        if rounding is not None:
            self.tool = f"{self.tool} {TOLD}"
        self._overflow = OverflowFix.ENABLE if weight_bits == 7 else OverflowFix.DISABLE
        self._calibration = calibration
        self._begin = begin
        try:
            self._model = _simplified(read_onnx(content))
        except Exception as error:
            # The reader's exceptions share no public base class.
            reason = one_line(error)
            raise BundleError(f"OpenVINO cannot read {where}: {reason}") from None

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        """Return the network with all layers but ``kept`` in int8.

        Raises:
            BundleError: NNCF cannot quantise the graph.
        """
        parameters = AdvancedQuantizationParameters(
            overflow_fix=self._overflow,
            disable_bias_correction=not self._correct_bias,
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        )
        images = len(self._calibration)
        advance = self._begin(step("openvino", "calibrating", kept), images)
        try:
            with quiet():
                quantized = nncf.quantize(
                    self._with_weights(kept),
                    nncf.Dataset(_Images(self._calibration, advance)),
                    preset=nncf.QuantizationPreset.MIXED,
                    target_device=nncf.TargetDevice.CPU,
                    subset_size=images,
                    ignored_scope=nncf.IgnoredScope(names=self._operations(kept)),
                    advanced_parameters=parameters,
                )
        except Exception as error:
            # Its own exceptions and those of OpenVINO share no public base class.
            reason = reason_of(error)
            raise BundleError(f"NNCF cannot quantise {self._where}: {reason}") from None
        return of_ir(*to_ir(quantized))

    def _with_weights(self, kept: Sequence[Layer]) -> ov.Model:
        """Return the network to quantise: rounded beforehand, if at all, where it is quantised."""
        if self._rounding is None:
            return self._model.clone()
        nodes = [node for layer in kept for node in layer.nodes]
        graph = self._rounding.applied(read_graph(self._content, self._where), nodes)
        return _simplified(read_onnx(graph.SerializeToString()))

    def _operations(self, layers: Sequence[Layer]) -> list[str]:
        """Return the names of the operations that OpenVINO's reader made of the layers' nodes.

        An operation has the node's name; if there are several, ``node/something``.
        """
        nodes = {node for layer in layers for node in layer.nodes}
        names = [
            operation.get_friendly_name()
            for operation in self._model.get_ordered_ops()
            if operation.get_type_name() != "Constant"
        ]
        return [name for name in names if name in nodes or name.rpartition("/")[0] in nodes]


class _Images:
    """Calibration images one by one, which NNCF goes through as often as it wants."""

    def __init__(self, pixels: Pixels, advance: Advance) -> None:
        self._pixels = pixels
        self._advance = advance
        self._seen = 0

    def __len__(self) -> int:
        return len(self._pixels)

    def __iter__(self) -> Iterator[Pixels]:
        for index in range(len(self._pixels)):
            yield self._pixels[index : index + 1]
            if self._seen == index:
                self._seen += 1
                self._advance(1)


def _simplified(model: ov.Model) -> ov.Model:
    """Put a graph into the form that NNCF recognises, in place.

    OpenVINO's reader puts a reshape behind the weights of each depthwise convolution. NNCF does
    not look through it: it gives those weights a scale for each channel and column, with which
    OpenVINO computes them in fp32 after all. So what only depends on weights is computed here.
    """
    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(model)
    join_silu(model)
    return model
