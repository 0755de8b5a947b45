"""Turn steps.json and weights.npz into a static program of Paddle's, of the newer or older format.

The newer one is model.json, the older one older.pdmodel; the weights are .pdiparams beside them.
"""

import json
import os
import sys
from pathlib import Path

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
os.environ.update(FLAGS_enable_pir_api="0" if settings["older"] else "1")

import numpy as np  # noqa: E402 - what it imports reads the flag
import paddle  # noqa: E402
from paddle.base.layer_helper import LayerHelper  # noqa: E402

functional = paddle.nn.functional


def older(kind, inputs, **attributes):
    """Append an operator of the older format, for which Paddle's function knows the newer alone."""
    helper = LayerHelper(kind)
    given = helper.create_variable_for_type_inference("float32")
    helper.append_op(type=kind, inputs=inputs, outputs={"Out": [given]}, attrs=attributes)
    return given


def matmul(x, y, transpose):
    """Multiply by a matrix or its transpose."""
    if settings["older"]:
        return older("matmul_v2", {"X": [x], "Y": [y]}, trans_x=False, trans_y=transpose)
    return paddle.matmul(x, y, transpose_y=transpose)


def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return older("sigmoid", {"X": [x]}) if settings["older"] else functional.sigmoid(x)


def conv(x, weight, bias=None, *, pads, strides, dilations, group, **_):
    """Convolve; what is padded at the end is no more than one pixel beyond the beginning."""
    top, left, bottom, right = pads
    return functional.conv2d(x, weight, bias, strides, [top, bottom, left, right], dilations, group)


def gemm(x, weight, bias=None, *, transB=0, **_):  # noqa: N803 - ONNX's name
    """Multiply by a matrix; its transpose was stored if ``transB`` is set."""
    product = matmul(x, weight, bool(transB))
    return product if bias is None else product + bias


def max_pool(x, *, kernel_shape, pads, strides, ceil_mode=0, **_):
    """Return the largest of each window."""
    if pads[:2] != pads[2:]:
        sys.exit("Paddle cannot pad a pooling on one side only")
    return functional.max_pool2d(x, kernel_shape, strides, pads[:2], ceil_mode=bool(ceil_mode))


def pad(x, *, numbers, **_):
    """Append zeros; to channels by what Paddle Lite knows too."""
    pads, value = numbers["1"], numbers.get("2", 0.0)
    half = len(pads) // 2
    if half == 4 and not any(pads[:half] + pads[half + 2 :] + pads[half : half + 1] + [value]):
        count, _, height, width = x.shape
        zeros = paddle.zeros([count, pads[half + 1], height, width], "float32")
        return paddle.concat([x, zeros], 1)
    return functional.pad(
        x, [side for axis in range(half) for side in (pads[axis], pads[axis + half])], value=value
    )


def cut(x, *, numbers, **_):
    """Return a part, in steps of one."""
    if any(step != 1 for step in numbers.get("4", [])):
        sys.exit("a slice that leaves places out")
    starts, ends = numbers["1"], [min(end, 2**31 - 1) for end in numbers["2"]]
    return paddle.slice(x, numbers.get("3", list(range(len(starts)))), starts, ends)


def clip(x, *, numbers, **_):
    """Limit what is too small or too large."""
    return paddle.clip(x, numbers.get("1"), numbers.get("2"))


OPERATORS = {
    "Add": lambda x, y: x + y,
    "Clip": clip,
    "Concat": lambda *parts, axis: paddle.concat(list(parts), axis),
    "Conv": conv,
    "Flatten": lambda x, axis=1: paddle.flatten(x, axis),
    "Gemm": gemm,
    "GlobalAveragePool": lambda x: paddle.mean(x, [2, 3], keepdim=True),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: functional.hardsigmoid(x, alpha, beta),
    "MaxPool": max_pool,
    "Mul": lambda x, y: x * y,
    "Pad": pad,
    "ReduceMean": lambda x, axes, keepdims=1: paddle.mean(x, axes, keepdim=bool(keepdims)),
    "Relu": functional.relu,
    "Reshape": lambda x, *, numbers: paddle.reshape(x, numbers["1"]),
    "Sigmoid": sigmoid,
    "Slice": cut,
    "Squeeze": lambda x, axes: paddle.squeeze(x, axes),
    "Transpose": lambda x, perm: paddle.transpose(x, perm),
    "Unsqueeze": lambda x, axes: paddle.unsqueeze(x, axes),
}


def logits_of(pixels, program, weights):
    """Add the steps to the program that is being written, and return what they give."""
    unknown = sorted({step["op"] for step in program["steps"]} - set(OPERATORS))
    if unknown:
        sys.exit(f"no operator of Paddle's is known here for {', '.join(unknown)}")
    known = {program["input"]: pixels}
    for name, value in weights.items():
        given = paddle.nn.initializer.Assign(value)
        known[name] = paddle.static.create_parameter(
            value.shape, str(value.dtype), name, default_initializer=given
        )
    for step in program["steps"]:
        taken = [None if name is None else known[name] for name in step["takes"]]
        more = {"numbers": step["numbers"]} if step["numbers"] else {}
        (given,) = step["gives"]
        known[given] = OPERATORS[step["op"]](*taken, **more, **step["with"])
    return known[program["output"]]


paddle.enable_static()
program, startup = paddle.static.Program(), paddle.static.Program()
with paddle.static.program_guard(program, startup):
    kind = "uint8" if settings["bytes"] else "float32"
    pixels = paddle.static.data("pixels", settings["shape"], kind)
    planes = paddle.transpose(pixels.astype("float32"), [0, 3, 1, 2])
    logits = logits_of(
        planes if settings["bytes"] else pixels,
        json.loads((folder / "steps.json").read_text("utf-8")),
        dict(np.load(folder / "weights.npz")),
    )
executor = paddle.static.Executor(paddle.CPUPlace())
executor.run(startup)
paddle.static.save_inference_model(
    str(folder / ("older" if settings["older"] else "model")),
    [pixels],
    [logits],
    executor,
    program=program,
)
