"""Batches on their way to the training device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from fleetnet.data.batches import Batch


def copied_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches with their tensors on ``device``, each copied while the previous one computes.

    For a CUDA device, copies go through pinned memory and a separate stream, so neither this
    process nor the network waits for them. On a processor there is nothing to copy, and batches are
    passed on unchanged.
    """
    return _through_a_stream(batches, device) if device.type == "cuda" else batches


class _Copy(NamedTuple):
    batch: Batch
    done: torch.cuda.Event


def _through_a_stream(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    ahead: _Copy | None = None
    for batch in batches:
        copy = _copied(batch, device, stream)
        if ahead is not None:
            yield _arrived(ahead, device)
        ahead = copy
    if ahead is not None:
        yield _arrived(ahead, device)


def _copied(batch: Batch, device: torch.device, stream: torch.cuda.Stream) -> _Copy:
    with torch.cuda.stream(stream):
        # PyTorch reuses pinned memory for later batches, but not before the copy is done.
        pixels, labels = (
            tensor.pin_memory().to(device, non_blocking=True)
            for tensor in (batch.pixels, batch.labels)
        )
        return _Copy(batch._replace(pixels=pixels, labels=labels), stream.record_event())


def _arrived(copy: _Copy, device: torch.device) -> Batch:
    """Make the device, not this process, wait for the copy before it uses it."""
    current = torch.cuda.current_stream(device)
    current.wait_event(copy.done)
    tensors: tuple[Tensor, ...] = (copy.batch.pixels, copy.batch.labels)
    for tensor in tensors:
        tensor.record_stream(current)
    return copy.batch
