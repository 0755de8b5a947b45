"""Quantisation-aware fine-tuning: weights that answer in int8 as the network in fp32 does.

The teacher is the bundle's own network in fp32, asked for every variant of every image, so labels
play no part. Batch norm is part of the layers in the graph already. The ranges of the activations
are measured at the beginning of each epoch and stand still while it lasts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from fleetnet.bundle import Activation, Bundle
from fleetnet.data.augment import Augment
from fleetnet.data.contents import Remembered
from fleetnet.data.loader import Loader
from fleetnet.data.sources import Source
from fleetnet.data.sources.samples import Indices
from fleetnet.errors import DataError, FleetnetError, the_first
from fleetnet.export.finetune.graph import TrainableGraph
from fleetnet.export.quantize.finetuned import Finetuned
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.quantize.qdq import OnnxRuntimeQuantizer
from fleetnet.inference.engines import Engine, Pixels, open_engine
from fleetnet.reporting import Begin, Say
from fleetnet.training.distillation.losses import kullback_leibler
from fleetnet.training.kept_memory import memory_kept

EPOCHS = 3
BATCH = 32
RATE = 2e-4
"""Largest learning rate of Adam, as a share of each channel's weights.

With 7 bits, a step of rounding is about a twentieth of these. A thousandth at once was so much for
a network of a thousand classes that it forgot more than it learnt."""
_WARMUP = 0.1
"""Share of the steps in which the rate rises: Adam's first ones are all of full size."""
_TEACHER = "onnxruntime"
_CROPPED = 0.5
"""Smallest share of an image that a variant of it shows."""


class Data(NamedTuple):
    """The images to learn from.

    Attributes:
        source: of the images, whose labels are not used.
        indices: of those to train on.
    """

    source: Source
    indices: Indices


def finetune(
    bundle: Bundle,
    data: Data,
    calibration: Pixels,
    *,
    epochs: int = EPOCHS,
    weight_bits: int = 7,
    rate: float = RATE,
    seed: int = 0,
    begin: Begin = lambda _what, _steps: lambda _done: None,
    say: Say = lambda _: None,
) -> Finetuned:
    """Fine-tune a bundle's network for int8.

    Args:
        bundle: with the network in fp32, which is the teacher.
        data: images to learn from, none of those that judge.
        calibration: real images that show the ranges, ``uint8[N, crop, crop, 3]``.
        epochs: how often each image is seen.
        weight_bits: 7 or 8.
        rate: see :data:`RATE`.
        seed: of the order and the variants.
        begin: called with each step that takes long.
        say: called with a line for each epoch.

    Raises:
        BundleError: the bundle's graph cannot be read or run.
        DataError: no image can be read.
        ModelError: its network has an operator that cannot be trained here.
        FleetnetError: the loss is no number any more.
    """
    path, content = bundle.content(format="onnx")
    network = read_graph(content, str(path))
    quantized = _Quantized(str(path), calibration, weight_bits, begin)
    student = TrainableGraph(network, quantized.graph(network), weight_bits)
    preprocess = bundle.manifest.preprocess
    loader = Loader(
        data.source,
        data.indices,
        preprocess,
        batch_size=BATCH,
        workers=0,
        augment=Augment(preprocess, min_scale=_CROPPED),
        seed=seed,
    )
    learnt, unreadable = Remembered(), dict[str, None]()
    optimizer = torch.optim.Adam(student.parameters(), rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _part(epochs * len(loader)))
    with memory_kept(), contextlib.closing(open_engine(_TEACHER, bundle)) as teacher:
        for epoch in range(1, epochs + 1):
            if epoch > 1:
                student.set_ranges(quantized.graph(student.trained(network)))
            advance = begin(f"fine-tuning: epoch {epoch} of {epochs}", loader.images)
            losses, images = [], 0
            for pixels, wanted in _asked(loader, epoch, teacher, learnt, unreadable):
                loss = _loss(student(pixels), wanted, bundle.manifest.model.activation)
                losses.append(_checked(loss, epoch))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                images += len(pixels)
                advance(len(pixels))
            if not losses:
                raise DataError(
                    f"no image of {data.source.description} could be read to fine-tune on"
                    f"{the_first(unreadable)}"
                )
            say(f"fine-tuning: epoch {epoch} of {epochs}, loss {sum(losses) / len(losses):.4g}")
    trained = student.trained(network).SerializeToString()
    return Finetuned(trained, epochs, images, learnt.contents(), tuple(unreadable))


class _Quantized:
    """Measures the ranges of a network and gives its graph in int8."""

    def __init__(self, where: str, calibration: Pixels, weight_bits: int, begin: Begin) -> None:
        self._where, self._calibration = where, calibration
        self._bits, self._begin = weight_bits, begin

    def graph(self, network: onnx.ModelProto) -> onnx.ModelProto:
        layers = layers_of(network, self._where)
        quantizer = OnnxRuntimeQuantizer(
            network, layers, self._calibration, self._bits, self._begin
        )
        return onnx.load_from_string(quantizer.graph_without([]))


def _asked(
    loader: Loader, epoch: int, teacher: Engine, learnt: Remembered, unreadable: dict[str, None]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch, and what the network in fp32 says of them.

    What they are of is added to ``learnt``, what could not be read to ``unreadable``.
    """
    for batch in loader.batches(epoch):
        learnt.add(batch.contents)
        unreadable.update(dict.fromkeys(batch.unreadable))
        if len(batch.labels):  # none of it could be read otherwise
            yield batch.pixels, torch.from_numpy(teacher.run(batch.pixels.numpy()))


def _loss(found: Tensor, wanted: Tensor, activation: Activation) -> Tensor:
    """Return how far the answers are from those of the network in fp32."""
    if activation == "softmax":
        return kullback_leibler(found, wanted)
    # What the wanted probabilities cost anyway is taken off, so that equal answers cost nothing.
    least = functional.binary_cross_entropy_with_logits(wanted, wanted.sigmoid())
    return functional.binary_cross_entropy_with_logits(found, wanted.sigmoid()) - least


def _part(steps: int) -> Callable[[int], float]:
    """Return which part of the largest learning rate a step has, counted from 0."""
    rising = max(round(_WARMUP * steps), 1)

    def part(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        return (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1))) / 2

    return part


def _checked(loss: Tensor, epoch: int) -> float:
    value = loss.item()
    if not math.isfinite(value):
        raise FleetnetError(
            f"fine-tuning: the loss turned {value} in epoch {epoch}; nothing is written"
        )
    return value
