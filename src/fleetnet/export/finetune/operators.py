"""What the operators of exported graphs compute, in PyTorch, so that gradients go through them.

Source: the specification of ONNX, opset 18, as far as exported graphs make use of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
Operator = Callable[[Attributes, list[Tensor | None]], Tensor]
"""Maps attributes and inputs, None where one is left out, to the one output."""


def _conv(given: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, weight, bias = _filled(inputs, 3)
    assert x is not None and weight is not None  # noqa: S101, PT018 - for the type checker
    dims = weight.ndim - 2
    pads = given.get("pads", [0] * 2 * dims)
    if pads[:dims] == pads[dims:]:
        padding = pads[:dims]
    else:
        x, padding = functional.pad(x, _sides(pads)), [0] * dims
    convolve: Callable[..., Tensor] = {1: functional.conv1d, 2: functional.conv2d}[dims]
    return convolve(
        x,
        weight,
        bias,
        stride=given.get("strides", 1),
        padding=padding,
        dilation=given.get("dilations", 1),
        groups=given.get("group", 1),
    )


def _gemm(given: Attributes, inputs: list[Tensor | None]) -> Tensor:
    a, b, c = _filled(inputs, 3)
    assert a is not None and b is not None  # noqa: S101, PT018 - for the type checker
    a = a.T if given.get("transA") else a
    b = b.T if given.get("transB") else b
    alpha, beta = float(given.get("alpha", 1)), float(given.get("beta", 1))
    product = alpha * (a @ b)
    return product if c is None else product + beta * c


def _clip(_: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, low, high = _filled(inputs, 3)
    assert x is not None  # noqa: S101 - for the type checker
    return x if low is None and high is None else torch.clamp(x, low, high)


def _pad(_: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, pads, value, _axes = _filled(inputs, 4)
    assert x is not None and pads is not None  # noqa: S101, PT018 - for the type checker
    return functional.pad(x, _sides(pads.tolist()), value=0.0 if value is None else float(value))


def _mean(given: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, axes = _filled(inputs, 2)
    assert x is not None  # noqa: S101 - for the type checker
    over = given.get("axes") if axes is None else axes.tolist()
    return x.mean(over or list(range(x.ndim)), keepdim=bool(given.get("keepdims", 1)))


def _reshape(given: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, shape = _two(inputs)
    sizes = [int(size) for size in shape.tolist()]
    if not given.get("allowzero"):
        sizes = [size or x.shape[place] for place, size in enumerate(sizes)]
    return x.reshape(sizes)


def _unsqueeze(_: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, axes = _two(inputs)
    for axis in sorted(axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _squeeze(_: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, axes = _two(inputs)
    return x.squeeze(tuple(axes.tolist()))


def _slice(_: Attributes, inputs: list[Tensor | None]) -> Tensor:
    x, starts, ends, axes, steps = _filled(inputs, 5)
    assert x is not None and starts is not None and ends is not None  # noqa: S101, PT018
    where = list(range(len(starts))) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    index = [slice(None)] * x.ndim
    for axis, start, end, step in zip(where, starts.tolist(), ends.tolist(), by, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


def _two(inputs: list[Tensor | None]) -> tuple[Tensor, Tensor]:
    first, second = inputs
    assert first is not None and second is not None  # noqa: S101, PT018 - for the type checker
    return first, second


def _filled(inputs: list[Tensor | None], count: int) -> list[Tensor | None]:
    return [*inputs, *[None] * (count - len(inputs))]


def _sides(pads: list[int]) -> list[int]:
    """Turn ONNX's order, all beginnings and then all ends, into PyTorch's, the last axis first."""
    half = len(pads) // 2
    pairs = zip(reversed(pads[:half]), reversed(pads[half:]), strict=True)
    return [int(side) for pair in pairs for side in pair]


def _told(compute: Callable[[Attributes, Tensor], Tensor]) -> Operator:
    def operator(given: Attributes, inputs: list[Tensor | None]) -> Tensor:
        x = inputs[0]
        assert x is not None  # noqa: S101 - for the type checker
        return compute(given, x)

    return operator


def _one(compute: Callable[[Tensor], Tensor]) -> Operator:
    return _told(lambda _, x: compute(x))


def _pair(compute: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda _, inputs: compute(*_two(inputs))


OPERATORS: Mapping[str, Operator] = {
    "Add": _pair(torch.add),
    "Cast": _one(Tensor.float),
    "Clip": _clip,
    "Concat": lambda given, inputs: torch.cat([x for x in inputs if x is not None], given["axis"]),
    "Conv": _conv,
    "Div": _pair(torch.div),
    "Flatten": _told(lambda given, x: x.flatten(given.get("axis", 1))),
    "Gemm": _gemm,
    "GlobalAveragePool": _one(lambda x: x.mean((2, 3), keepdim=True)),
    "HardSigmoid": _told(
        lambda given, x: (given.get("alpha", 0.2) * x + given.get("beta", 0.5)).clamp(0, 1)
    ),
    "HardSwish": _one(functional.hardswish),
    "Identity": _one(lambda x: x),
    "MatMul": _pair(torch.matmul),
    "Mul": _pair(torch.mul),
    "Pad": _pad,
    "ReduceMean": _mean,
    "Relu": _one(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _one(torch.sigmoid),
    "Slice": _slice,
    "Softmax": _told(lambda given, x: x.softmax(given.get("axis", -1))),
    "Squeeze": _squeeze,
    "Sub": _pair(torch.sub),
    "Transpose": _told(lambda given, x: x.permute(given["perm"])),
    "Unsqueeze": _unsqueeze,
}
"""By their names in ONNX; all of the networks here are made of these."""
