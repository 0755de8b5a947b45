"""ncnn's files: read and written, and rounded as ncnn's own tools would."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from fleetnet.errors import FleetnetError
from fleetnet.export.ncnn_files import IN_INT8, NUMBERS, PARAMETERS, NcnnLayer, read_layers
from fleetnet.export.ncnn_int8 import in_int8

Array = npt.NDArray[np.float32]
LINES = """\
7767517
8 9
Input                    in0                      0 1 in0
MemoryData               shift                    0 1 1 0=1 1=1 2=3
BinaryOp                 add                      2 1 in0 1 2 0=0
Convolution              wide                     1 1 2 3 0=4 1=3 5=1 6=108 9=3 -23310=2,0,6
ConvolutionDepthWise     deep                     1 1 3 4 0=4 1=3 5=1 6=36 7=4
Split                    two                      1 2 4 5 6
Convolution              one                      1 1 5 7 0=2 1=1 3=1 5=0 6=8
InnerProduct             last                     1 1 7 out0 0=3 1=1 2=6
"""
LARGEST = [255.0, 6.0, 2.5, 0.0]


def tagged(values: Array) -> bytes:
    return struct.pack("<I", 0) + values.tobytes()


@pytest.fixture
def arrays() -> list[Array]:
    """The shift; then weights and biases in their order, one channel of them without weights."""
    rng = np.random.default_rng(3)
    found = [rng.normal(size=size).astype("<f4") for size in (3, 108, 4, 36, 4, 8, 6, 3)]
    found[3][9:18] = 0
    return found


@pytest.fixture
def files(arrays: Sequence[Array]) -> dict[str, bytes]:
    shift, wide, wide_bias, deep, deep_bias, one, last, last_bias = arrays
    weights = tagged(wide), wide_bias, tagged(deep), deep_bias, tagged(one), tagged(last), last_bias
    numbers = b"".join(bytes(part) for part in (shift, *weights))
    return {PARAMETERS: LINES.encode(), NUMBERS: numbers}


def parts(layer: NcnnLayer, weights: int, biases: int) -> tuple[npt.NDArray[np.int8], Array, Array]:
    """Return the weights, the biases and the scales of a layer in int8."""
    assert struct.unpack_from("<I", layer.numbers) == (IN_INT8,)
    rest = layer.numbers[4 + -(-weights // 4) * 4 :]
    numbers = np.frombuffer(rest, "<f4")
    return np.frombuffer(layer.numbers, "i1", weights, 4), numbers[:biases], numbers[biases:]


def test_every_layer_has_its_scales(files: dict[str, bytes], arrays: Sequence[Array]) -> None:
    made = {layer.name: layer for layer in read_layers(in_int8(files, LARGEST, ()))}
    terms = {name: layer.settings.get(8) for name, layer in made.items() if layer.weighted}
    # Only 'wide' has one that takes its values, and that as a convolution.
    assert terms == {"wide": "101", "deep": "1", "one": "1", "last": "1"}
    assert made["shift"].numbers == arrays[0].tobytes()
    wide, bias, scales = parts(made["wide"], 108, 4)
    np.testing.assert_array_equal(bias, arrays[2])
    # Of a 3x3 convolution without steps the weights have 6 bits.
    np.testing.assert_allclose(scales[:4], 31 / np.abs(arrays[1].reshape(4, -1)).max(axis=1))
    np.testing.assert_allclose(scales[4:], [127 / 255, 127 / 6], rtol=1e-6)
    assert np.abs(wide).reshape(4, -1).max(axis=1).tolist() == [31] * 4
    assert made["wide"].gives_scale == pytest.approx(127 / 6)
    deep, bias, scales = parts(made["deep"], 36, 4)
    np.testing.assert_array_equal(bias, arrays[4])
    assert scales[1] == 0
    assert np.abs(deep).reshape(4, -1).max(axis=1).tolist() == [127, 0, 127, 127]
    found = np.divide(deep.reshape(4, -1), scales[:4, None], where=scales[:4, None] > 0,
                      out=np.zeros((4, 9), np.float32))  # fmt: skip
    steps = np.divide(1, scales[:4], where=scales[:4] > 0, out=np.zeros(4, np.float32))
    assert (np.abs(found - arrays[3].reshape(4, -1)) <= 0.501 * steps[:, None]).all()
    # What is always zero has some scale.
    assert parts(made["last"], 6, 3)[2][-1] == 1
    assert made["last"].gives_scale == 1


def test_layers_that_are_kept_stay_as_they_are(files: dict[str, bytes]) -> None:
    before = {layer.name: layer for layer in read_layers(files)}
    written = in_int8(files, LARGEST, {0, 3})
    after = {layer.name: layer for layer in read_layers(written)}
    assert after["wide"] == before["wide"]
    assert after["last"] == before["last"]
    assert after["deep"].settings[8] == after["one"].settings[8] == "1"
    assert len(written[NUMBERS]) < len(files[NUMBERS])
    assert in_int8(files, LARGEST, range(4)) == {
        PARAMETERS: "\n".join(
            " ".join((f"{kind:24} {name:24}", *rest))
            if rest else f"{kind} {name}".strip()
            for kind, name, *rest in (line.split() + [""] * (2 - len(line.split()))
                                      for line in LINES.splitlines())
        ).encode() + b"\n",
        NUMBERS: files[NUMBERS],
    }  # fmt: skip


def test_the_largest_integer_may_be_a_smaller_one(
    files: dict[str, bytes], arrays: Sequence[Array]
) -> None:
    """So that integers of 7 bits come back; what ncnn's Winograd has room for stays the end."""
    written = in_int8(files, LARGEST, (), {0: 64, 1: 64})
    made = {layer.name: layer for layer in read_layers(written)}
    sizes = {
        name: np.abs(parts(made[name], weights, biases)[0].astype(int)).max()
        for name, weights, biases in (("wide", 108, 4), ("deep", 36, 4), ("one", 8, 0))
    }
    assert sizes == {"wide": 31, "deep": 64, "one": 127}
    scales = parts(made["deep"], 36, 4)[2]
    assert scales[0] == pytest.approx(64 / np.abs(arrays[3][:9]).max())


def test_layers_without_numbers_may_have_settings_that_are_no_whole_ones(
    files: dict[str, bytes],
) -> None:
    """As a clip has them, which stands alone behind a gate."""
    clip = "Clip                     clip                     1 1 7 8 0=0.0 1=6.0\nInnerProduct"
    text = files[PARAMETERS].decode().replace("\n8 9\n", "\n9 10\n").replace("InnerProduct", clip)
    made = read_layers({**files, PARAMETERS: text.encode()})
    (found,) = (layer for layer in made if layer.name == "clip")
    assert (found.settings, found.numbers) == ({0: "0.0", 1: "6.0"}, b"")


def test_halves_are_rounded_away_from_zero(files: dict[str, bytes]) -> None:
    start = 4 * 3 + 4 + 4 * (108 + 4) + 4 + 4 * (36 + 4) + 4
    weights = np.array([127, 0.5, -0.5, 1.49, -127, 2.5, -1.5, 0], "<f4").tobytes()
    changed = files[NUMBERS][:start] + weights + files[NUMBERS][start + 32 :]
    made = read_layers(in_int8({**files, NUMBERS: changed}, LARGEST, ()))
    (one,) = (layer for layer in made if layer.name == "one")
    assert parts(one, 8, 0)[0].tolist() == [127, 1, -1, 1, -127, 3, -2, 0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"7767517", b"7767518", "no network of ncnn's"),
        (b"InnerProduct ", b"Gemm ", "the layers that are known here take"),
        (b"2=3\nBin", b"2=3 21=0\nBin", "'shift' are not in fp32"),
        (b"0=1 1=1 2=3", b"0=1 1=1 2=2", "'wide' has weights of an unknown form"),
        (b"InnerProduct ", b"Reduction ", "ncnn has 3 layers with weights, not 4"),
    ],
)
def test_what_is_not_understood_is_a_line(
    old: bytes, new: bytes, words: str, files: dict[str, bytes]
) -> None:
    given = {**files, PARAMETERS: files[PARAMETERS].replace(old, new)}
    if new.startswith(b"Reduction"):
        given[NUMBERS] = given[NUMBERS][: -4 * (1 + 6 + 3)]
    with pytest.raises(FleetnetError, match=words):
        in_int8(given, LARGEST, ())


def test_what_was_cut_off_is_a_line(files: dict[str, bytes]) -> None:
    for left in (0, 14, 600, 700):
        with pytest.raises(FleetnetError, match=rf"{NUMBERS}.* (has {left} bytes|was cut off)"):
            read_layers({**files, NUMBERS: files[NUMBERS][:left]})


def test_only_fp32_is_rounded(files: dict[str, bytes]) -> None:
    with pytest.raises(FleetnetError, match="'wide' are not in fp32"):
        in_int8(in_int8(files, LARGEST, ()), LARGEST, ())
