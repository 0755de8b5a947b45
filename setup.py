"""The one thing that pyproject.toml cannot say yet: what is compiled."""

import tempfile

from setuptools import Extension, setup

CORE = ["native/fleetnet_core.c", "native/geometry.c", "native/resample.c"]
HEADERS = ["native/fleetnet_core.h", "native/geometry.h", "native/resample.h"]

# Of its own each time: what an earlier build left behind would be packed as well.
with tempfile.TemporaryDirectory() as folder:
    setup(
        ext_modules=[
            Extension(
                "fleetnet._native",
                ["src/fleetnet/_native.c", *CORE],
                include_dirs=["native"],
                depends=HEADERS,
                # Fused multiply-adds would give other weights on processors that have them.
                extra_compile_args=["-O3", "-ffp-contract=off"],
                define_macros=[("Py_LIMITED_API", "0x030B0000")],
                py_limited_api=True,
                # Without a compiler, Pillow and NumPy give the same pixels in more time.
                optional=True,
            )
        ],
        options={"bdist_wheel": {"py_limited_api": "cp311"}, "build": {"build_base": folder}},
    )
