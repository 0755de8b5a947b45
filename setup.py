"""What pyproject.toml cannot say: what is compiled or generated, and what comes along."""

import shutil
import tempfile
from pathlib import Path

from grpc_tools import protoc
from setuptools import Extension, setup
from setuptools.command.build_py import build_py

CORE = ["native/fleetnet_core.c", "native/geometry.c", "native/resample.c"]
HEADERS = ["native/fleetnet_core.h", "native/geometry.h", "native/resample.h"]


class Build(build_py):
    """Puts into the package what is not source: the conformance set, the C core, messages."""

    def run(self) -> None:
        """Build; an editable install finds the checkout's set, and gets the messages beside it."""
        super().run()
        if self.editable_mode:
            generate_messages(Path("src", "fleetnet", "serving"))
            return
        place = Path(self.build_lib, "fleetnet")
        shutil.copytree("conformance", place / "conformance" / "set", dirs_exist_ok=True)
        shutil.copytree("native", place / "export" / "native_program" / "core", dirs_exist_ok=True)
        generate_messages(place / "serving")


def generate_messages(place: Path) -> None:
    """Write the protocols' descriptions, and their types for mypy, from their ``.proto``.

    Not Python code: that would run only with the version of protobuf that it was generated for.
    """
    for name, module in (("open_inference", "messages"), ("brpc/meta", "brpc/meta")):
        protocol = Path("src", "fleetnet", "serving", f"{name}.proto")
        with tempfile.TemporaryDirectory() as folder:
            failed = protoc.main(
                [
                    "protoc",
                    f"--proto_path={protocol.parent}",
                    f"--descriptor_set_out={place / name}.pb",
                    f"--pyi_out={folder}",
                    str(protocol),
                ]
            )
            if failed:
                raise SystemExit(f"{protocol} cannot be compiled")
            shutil.copyfile(Path(folder, f"{protocol.stem}_pb2.pyi"), place / f"{module}.pyi")


# Of its own each time: what an earlier build left behind would be packed as well.
with tempfile.TemporaryDirectory() as folder:
    setup(
        cmdclass={"build_py": Build},
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
            ),
            Extension(
                "fleetnet._jpeg",
                ["src/fleetnet/_jpeg.c"],
                libraries=["jpeg"],
                extra_compile_args=["-O3"],
                define_macros=[("Py_LIMITED_API", "0x030B0000")],
                py_limited_api=True,
                # Without libjpeg-turbo's headers, simplejpeg decodes whole files, the same pixels.
                optional=True,
            ),
        ],
        options={"bdist_wheel": {"py_limited_api": "cp311"}, "build": {"build_base": folder}},
    )
