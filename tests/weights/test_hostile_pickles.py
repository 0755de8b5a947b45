"""Whatever instructions a pickle is made of, nothing is called and little memory is taken."""

import io
import pickle
import pickletools
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hostile import bombs, name, pickle_of, text, touching

from fleetnet.errors import CheckpointError
from fleetnet.weights.read import read_weights
from fleetnet.weights.torch_files import LEGACY

MIB = 2**20


def as_archive(pickled: bytes, numbers: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
        for key, content in (numbers or {}).items():
            archive.writestr(f"archive/data/{key}", content)
    return buffer.getvalue()


def as_legacy(pickled: bytes) -> bytes:
    system = pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
    head = b"\x80\x02" + LEGACY + pickle.dumps(1001, 2) + system
    return head + pickled + pickle.dumps([], 2)


@pytest.fixture(params=["pickle", "archive", "legacy"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    forms: dict[str, Callable[[bytes], bytes]] = {
        "pickle": bytes,
        "archive": as_archive,
        "legacy": as_legacy,
    }

    def write(pickled: bytes) -> Path:
        file = tmp_path / "evil.pth"
        file.write_bytes(forms[request.param](pickled))
        return file

    return write


@pytest.mark.parametrize("way", touching(""))
def test_no_instruction_calls_what_a_pickle_names(way: str, written: Any, tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    content = touching(str(marker))[way]
    assert list(pickletools.genops(content))[-1][0].name == "STOP"
    with pytest.raises(CheckpointError) as error:
        read_weights(written(content))
    assert "\n" not in str(error.value)
    assert not marker.exists()


def test_the_same_pickles_do_call_with_pythons_unpickler(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"
    for way in ("REDUCE", "INST", "OBJ", "eval", "import", "nested", "from_type_v2"):
        try:
            pickle.loads(touching(str(marker))[way])  # noqa: S301 - the proof of the test above
        except Exception:
            assert marker.exists(), way
        assert marker.exists(), way
        marker.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("kind", bombs())
def test_pickles_that_unpack_to_gigabytes_are_refused(kind: str, written: Any) -> None:
    file = written(bombs()[kind])
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            read_weights(file)
        assert tracemalloc.get_traced_memory()[1] < 250 * MIB
    finally:
        tracemalloc.stop()


def tensor(count: int, size: int, stride: int = 1, key: str = "0", offset: int = 0) -> bytes:
    """Return instructions for a tensor of ``size`` numbers out of ``count`` in a storage."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + struct.pack("<q", value)

    storage = (
        *(b"(", text("storage"), name("torch", "FloatStorage"), text(key), text("cpu")),
        *(number(count), b"tQ"),
    )
    return b"".join(
        (
            *(name("torch._utils", "_rebuild_tensor_v2"), b"(", *storage, number(offset)),
            *(number(size), b"\x85", number(stride), b"\x85", b"\x89", b"}tR"),
        )
    )


@pytest.mark.parametrize(
    ("instructions", "words"),
    [
        (tensor(2**55, 4), "claims to hold more"),
        (tensor(2**61, 4), "damaged"),
        (tensor(-1, 4), "damaged"),
        (tensor(4, 2**50), "claims more than the file holds"),
        (tensor(4, 2**50, 0), "claims more than the file holds"),
        (tensor(4, 4, 2), "claims more than the file holds"),
        (tensor(4, 4, offset=1), "claims more than the file holds"),
        (tensor(4, 4, offset=2**59), "claims more than the file holds"),
        (tensor(4, 4, -1), "impossible shape"),
        (tensor(4, -4), "impossible shape"),
        (tensor(4, 4, key="../0"), "damaged"),
        (name("torch._utils", "_rebuild_tensor_v2") + b")R", "is damaged"),
    ],
)
def test_tensors_of_a_false_size_are_refused(
    instructions: bytes, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "lie.pth"
    file.write_bytes(as_archive(pickle_of(instructions), {"0": bytes(16)}))
    with pytest.raises(CheckpointError, match=words):
        read_weights(file)


def test_an_array_of_objects_is_not_made(tmp_path: Path) -> None:
    marker = tmp_path / "it-ran"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (marker,)

    file = tmp_path / "objects.pth"
    torch.save({"stem.conv.weight": np.array([Evil()], object)}, file)
    with pytest.raises(CheckpointError, match=r"array of .*refused.*pathlib"):
        read_weights(file)
    assert not marker.exists()


def test_reading_a_pickle_changes_nothing_in_the_process(tmp_path: Path) -> None:
    """State given to a class or function of ours must not change it for the next file."""
    whole = tmp_path / "whole.pth"
    torch.save({"x": torch.zeros(3)}, whole)
    for target in (
        name("collections", "OrderedDict"),
        name("torch._utils", "_rebuild_tensor_v2"),
        name("torch", "FloatStorage"),
        name("numpy", "dtype"),
    ):
        evil = tmp_path / "evil.pth"
        evil.write_bytes(
            as_archive(pickle_of(target, b"N}", text("build"), name("os", "system"), b"s\x86b"))
        )
        with pytest.raises(CheckpointError):
            read_weights(evil)
        with pytest.raises(CheckpointError, match="no network known here \\(1 entries: x\\)"):
            read_weights(whole)
