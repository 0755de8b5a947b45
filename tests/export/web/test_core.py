"""The C core in WebAssembly: what the sources give, and the pixels of Python."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetnet.geometry import Interpolation
from fleetnet.preprocess import Preprocess
from samples import ROOT

SITE = resources.files("fleetnet.export.web") / "site"
PACKAGES = "clang, lld, wasi-libc and libclang-rt-dev-wasm32"

ANSWER = """
import { readFileSync, readSync, writeSync } from "node:fs";
const { Core } = await import(process.argv[1]);
const core = await Core.of(readFileSync(process.argv[2]));
function read(count) {
  const bytes = Buffer.alloc(count);
  for (let have = 0; have < count;) {
    const more = readSync(0, bytes, have, count - have);
    if (more === 0) process.exit(0);
    have += more;
  }
  return bytes;
}
for (;;) {
  const { width, height, channels, ...preprocess } = JSON.parse(read(read(4).readUInt32LE()));
  const data = new Uint8Array(read(width * height * channels));
  let told;
  try {
    told = Buffer.from(await core.input({ data, width, height }, preprocess));
  } catch (error) {
    told = Buffer.from(error.message);
  }
  const head = Buffer.alloc(4);
  head.writeUInt32LE(told.length);
  writeSync(1, Buffer.concat([head, told]));
}
"""


class InNode:
    """The core in Node.js, which answers pictures one after the other."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin, process.stdout

    def input(self, pixels: np.ndarray, preprocess: Preprocess) -> bytes:
        height, width, channels = pixels.shape
        sizes = {"width": width, "height": height, "channels": channels}
        told = json.dumps({**preprocess.to_json(), **sizes}).encode()
        self._in.write(struct.pack("<I", len(told)) + told + pixels.tobytes())
        self._in.flush()
        (length,) = struct.unpack("<I", self._out.read(4))
        return self._out.read(length)


@pytest.fixture(scope="module")
def core() -> Iterator[InNode]:
    if shutil.which("node") is None:
        pytest.skip("apt-get install nodejs: Node.js is not here")
    with contextlib.ExitStack() as stack:
        code, wasm = (
            stack.enter_context(resources.as_file(SITE / name))
            for name in ("core.mjs", "fleetnet-core.wasm")
        )
        process = stack.enter_context(
            subprocess.Popen(
                ["node", "--input-type=module", "-e", ANSWER, code.as_uri(), str(wasm)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        stack.callback(process.kill)
        yield InNode(process)


@given(
    width=st.integers(1, 160),
    height=st.integers(1, 160),
    resize=st.integers(1, 48),
    share=st.floats(0, 1),
    interpolation=st.sampled_from(get_args(Interpolation)),
    channels=st.sampled_from([3, 4]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=120)
def test_the_pixels_are_those_of_python(
    core: InNode, width: int, height: int, resize: int, share: float,
    interpolation: Interpolation, channels: int, seed: int,
) -> None:  # fmt: skip
    preprocess = Preprocess(resize, max(1, round(share * resize)), interpolation)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    found = core.input(pixels, preprocess)
    if max(width, height) > 100 * min(width, height):
        assert found == f"{width}×{height} is longer than 1:100".encode()
    else:
        assert found == preprocess(np.ascontiguousarray(pixels[..., :3])).tobytes()


def test_a_large_picture_leaves_no_memory_behind(core: InNode) -> None:
    preprocess = Preprocess(32, 24, "bicubic")
    pixels = np.random.default_rng(0).integers(0, 256, (6000, 5000, 3), np.uint8)
    for _ in range(3):
        assert core.input(pixels, preprocess) == preprocess(pixels).tobytes()


@pytest.mark.slow
def test_what_is_committed_is_what_the_sources_give(tmp_path: Path) -> None:
    made = tmp_path / "core.wasm"
    done = subprocess.run(
        ["make", "web-core", f"WEB_CORE={made}"], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"{PACKAGES} are not here")
    if made.read_bytes() != (SITE / "fleetnet-core.wasm").read_bytes():
        compiler = subprocess.run(["clang", "--version"], capture_output=True, check=True)
        if b"version 14." in compiler.stdout:
            pytest.fail("native/ has changed: run `make web-core`")
        pytest.skip("another clang than the one that made it")
