"""Name the most probable class of each image: python classify.py BUNDLE IMAGE...

With the C library alone, by way of ``ctypes``: the package ``fleetnet`` need not be installed.
"""

from __future__ import annotations

import ctypes
import sys


class Score(ctypes.Structure):
    """One class and its probability."""

    _fields_ = (("index", ctypes.c_int32), ("probability", ctypes.c_float))


def main(bundle: str, *images: str) -> int:
    """Print a line for each image; return the exit code."""
    library = ctypes.CDLL("libfleetnet.so.1")
    library.fleetnet_last_error.restype = ctypes.c_char_p
    library.fleetnet_class_name.restype = ctypes.c_char_p
    library.fleetnet_close.argtypes = (ctypes.c_void_p,)

    classifier, best, where = ctypes.c_void_p(), Score(), ""
    code = library.fleetnet_open(bundle.encode(), None, ctypes.byref(classifier))
    for image in images if code == 0 else ():
        code = library.fleetnet_classify_file(
            classifier, image.encode(), ctypes.c_size_t(1), ctypes.byref(best), None
        )
        if code:
            where = f"{image}: "
            break
        name = library.fleetnet_class_name(classifier, ctypes.c_size_t(best.index)).decode()
        print(f"{image}: {name} {best.probability:.4f}")
    if code:
        print(f"error: {where}{library.fleetnet_last_error().decode()}", file=sys.stderr)
    library.fleetnet_close(classifier)
    return 2 if code else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: classify.py BUNDLE IMAGE...")
    sys.exit(main(*sys.argv[1:]))
