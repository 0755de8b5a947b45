"""What pyproject.toml cannot say: what is compiled, and that the conformance set comes along."""

import shutil
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

CORE = ["native/fleetnet_core.c", "native/geometry.c", "native/resample.c"]
HEADERS = ["native/fleetnet_core.h", "native/geometry.h", "native/resample.h"]


class BuildWithSet(build_py):
    """Copies the conformance set into the package, where an installed one looks for it."""

    def run(self) -> None:
        """Build, and copy unless it is an editable install, which finds the checkout's."""
        super().run()
        if not self.editable_mode:
            place = Path(self.build_lib, "fleetnet", "conformance", "set")
            shutil.copytree("conformance", place, dirs_exist_ok=True)


# Of its own each time: what an earlier build left behind would be packed as well.
with tempfile.TemporaryDirectory() as folder:
    setup(
        cmdclass={"build_py": BuildWithSet},
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
