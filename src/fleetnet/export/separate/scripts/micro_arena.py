"""Find how much memory model.tflite takes, into network.json, with what else a program has to know.

Weights that the file has behind its end come into it, because tflite-micro looks for none there.

Called with a size as well, it runs the network in so much: too little may end the process.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import flatbuffers
import numpy as np
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

ALIGNMENT = 16
"""Bytes that weights begin at a multiple of, as the format says."""
STEP = 1024
"""By so many bytes more is tried; the arena is a multiple of it."""


class Aligned(flatbuffers.Builder):
    """Writes bytes where the format wants them, which Python's writer leaves to chance."""

    def CreateNumpyVector(self, x):  # noqa: N802 - its name there
        """Write an array."""
        if x.dtype != np.uint8:
            return super().CreateNumpyVector(x)
        self.StartVector(1, x.size, ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return self.EndVector()


def inside(content):
    """Return a file that has all of its weights inside; LiteRT's writers put large ones behind.

    tflite-micro takes such weights for zeros, and answers nonsense without a word.
    """
    model = runtime.convert_bytearray_to_object(bytearray(content))
    if not any(buffer.offset > 1 for buffer in model.buffers):
        return content
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0
    writer = Aligned(len(content))
    writer.Finish(model.Pack(writer), b"TFL3")
    return bytes(writer.Output())


def opened(folder, arena):
    """Return an interpreter of the network in an arena of so many bytes."""
    return runtime.Interpreter.from_file(str(folder / "model.tflite"), arena_size=arena)


def run(folder, arena):
    """Run the network once on zeros; return the interpreter."""
    interpreter = opened(folder, arena)
    interpreter.set_input(np.zeros(interpreter.get_input_details(0)["shape"], np.int8), 0)
    interpreter.invoke()
    return interpreter


def used(interpreter):
    """Return how many bytes an interpreter that ran says it took."""
    with tempfile.TemporaryFile() as told:
        kept = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            interpreter.print_allocations()
        finally:
            os.dup2(kept, 2)
        told.seek(0)
        return int(re.search(rb"Arena allocation total (\d+)", told.read())[1])


def operators(content):
    """Return the operators of a file by the names that the runtime's resolver adds them by."""
    known = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    codes = runtime.convert_bytearray_to_object(content).operatorCodes
    found = {known[runtime.get_builtin_code_from_operator_code(code)] for code in codes}
    return sorted(re.sub("v2$", "V2", name.title().replace("_", "")) for name in found)


def enough(folder, arena):
    """Tell whether the network runs in so many bytes, in a process that may die of it."""
    tried = subprocess.run(  # noqa: S603 - this script
        [sys.executable, __file__, folder, str(arena)], capture_output=True, check=False
    )
    return tried.returncode == 0


def main(folder):
    """Write what is found."""
    network = folder / "model.tflite"
    network.write_bytes(inside(network.read_bytes()))
    interpreter = run(folder, 16 * network.stat().st_size)
    least = -(-used(interpreter) // STEP) * STEP
    sizes = range(least, least + 64 * STEP, STEP)
    arena = next((size for size in sizes if enough(folder, size)), None)
    if arena is None:
        sys.exit(
            f"the network does not run in {sizes[-1]} bytes, though it says that it takes less"
        )
    form = interpreter.get_output_details(0)["quantization_parameters"]
    found = {
        "arena": arena,
        "scale": float(form["scales"][0]),
        "zero": int(form["zero_points"][0]),
        "operators": operators(network.read_bytes()),
    }
    (folder / "network.json").write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        run(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        main(Path(sys.argv[1]))
