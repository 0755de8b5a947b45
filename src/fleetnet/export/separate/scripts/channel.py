"""What scripts that run a network share: pixels come in, logits go out, whatever libraries print.

A message is two 32-bit numbers and so many bytes. The first number of a question is how many images
it has, that of an answer is 1, or 0 if a reason follows in its place.
"""

import math
import os
import struct
import sys
import time

import numpy as np

LENGTH = struct.Struct("<II")


def answer(load):
    """Load a network, then answer pixels until there are no more.

    Args:
        load: returns a function from ``uint8[N, crop, crop, 3]`` to ``float32[N, K]``.
    """
    # Native code prints to descriptor 1, so our answers have another one.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(good, content):
        out.write(LENGTH.pack(good, len(content)) + content)
        out.flush()

    try:
        run = load()
    except Exception as error:  # every runtime raises its own
        say(0, _reason(error))
        return
    say(1, b"ready")
    # Without what Python 3.7 does not know, which is all that some runtimes have a package for.
    while True:
        head = sys.stdin.buffer.read(LENGTH.size)
        if not head:
            return
        count, length = LENGTH.unpack(head)
        crop = round(math.sqrt(length // count // 3))
        pixels = np.frombuffer(sys.stdin.buffer.read(length), np.uint8)
        pixels = pixels.reshape(count, crop, crop, 3)
        try:
            began = time.perf_counter()
            logits = run(pixels)
            seconds = time.perf_counter() - began
            say(1, struct.pack("<d", seconds) + np.ascontiguousarray(logits, np.float32).tobytes())
        except Exception as error:
            say(0, _reason(error))


def _reason(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:1000].encode()
