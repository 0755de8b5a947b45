"""Of hostile and damaged weights files nothing is run, and nothing more is taken than they hold."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from fleetnet.errors import CheckpointError
from fleetnet.models import build_model
from fleetnet.models.names import PADDLE
from fleetnet.weights.adapter import Adapter
from fleetnet.weights.arrays import PLAIN
from fleetnet.weights.create import create_model
from fleetnet.weights.find import find_network
from fleetnet.weights.pickles import PickleDamaged, Unfit, load_pickle
from fleetnet.weights.read import read_weights
from fleetnet.weights.tables import find_tables
from fleetnet.weights.write import write_weights


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


def load(content: bytes) -> Any:
    return load_pickle(io.BytesIO(content), PLAIN).value


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return build_model("MobileNetV2_x0_25", 3).eval()


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


def hostile_values(marker: Path) -> dict[str, object]:
    command = f"touch {marker}"
    return {
        "posix.system": Call(os.system, command),
        "builtins.eval": Call(eval, f"__import__('os').system({command!r})"),
        "builtins.getattr": Call(getattr, Call(__import__, "os"), "system"),
        "builtins.exec": OrderedDict(
            inner=[{"deep": (Call(exec, f"open({str(marker)!r}, 'w')"),)}]
        ),
    }


EVIL = ["posix.system", "builtins.eval", "builtins.getattr", "builtins.exec"]


def named(name: str) -> set[str]:
    """Return what a name may be called in a file, by the version of the format."""
    return {name, name.replace("builtins", "__builtin__")}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", EVIL)
def test_a_pickle_that_calls_is_read_without_calling(
    network: torch.nn.Module, tmp_path: Path, marker: Path, name: str, protocol: int
) -> None:
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    file = tmp_path / "evil.pdparams"
    file.write_bytes(pickle.dumps({**state, "x": hostile_values(marker)[name]}, protocol))
    read = read_weights(file)
    assert named(name) & set(read.objects)
    assert read.state.keys() == state.keys()
    assert not marker.exists()


def test_a_pickle_of_protocol_0_is_no_known_format(tmp_path: Path, marker: Path) -> None:
    file = tmp_path / "evil.pdparams"
    file.write_bytes(pickle.dumps({"x": hostile_values(marker)["posix.system"]}, 0))
    with pytest.raises(CheckpointError, match="in a known format"):
        read_weights(file)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", EVIL)
def test_a_torch_file_that_calls_is_read_without_calling(
    network: torch.nn.Module, tmp_path: Path, marker: Path, name: str, legacy: bool
) -> None:
    file = tmp_path / "evil.pth"
    content = {"model": network.state_dict(), "x": hostile_values(marker)[name]}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    read = read_weights(file)
    assert named(name) & set(read.objects)
    for key, value in network.state_dict().items():
        assert torch.equal(read.state[key], value)
    assert not marker.exists()


def test_calls_that_were_not_run_are_named_if_there_are_no_weights(
    tmp_path: Path, marker: Path
) -> None:
    file = tmp_path / "evil.pth"
    torch.save({"weight": torch.zeros(3), "x": hostile_values(marker)["posix.system"]}, file)
    with pytest.raises(CheckpointError, match=r"no network known here.*not run: posix\.system"):
        read_weights(file)
    assert not marker.exists()


def test_a_compressed_archive_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    file = tmp_path / "bomb.pth"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", b"\0" * 50_000_000)
    assert file.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match="compressed archive"):
        read_weights(file)


def test_an_archive_that_claims_more_than_it_has_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(8)}, buffer)
    content = bytearray(buffer.getvalue())
    # Sizes in the central directory: 10 TB in one entry.
    place = content.index(b"PK\x01\x02")
    content[place + 20 : place + 28] = struct.pack("<II", 0xFFFFFFFE, 0xFFFFFFFE)
    file = tmp_path / "claim.pth"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"claims to hold more|damaged"):
        read_weights(file)


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "stride.pth"
    torch.save({"weight": torch.zeros(1).expand(10**12)}, file)
    assert file.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match="claims more than the file holds"):
        read_weights(file)


@pytest.mark.parametrize("length", [10 * 10**12, 2**63, 2**64 - 1])
def test_a_safetensors_header_of_ten_terabytes_is_refused(tmp_path: Path, length: int) -> None:
    file = tmp_path / "huge.safetensors"
    file.write_bytes(struct.pack("<Q", length) + b'{"x":{}}')
    with pytest.raises(CheckpointError, match="claims a header of"):
        read_weights(file)


def test_safetensors_whose_tensor_is_ten_terabytes_is_refused(tmp_path: Path) -> None:
    header = b'{"x":{"dtype":"F32","shape":[2500000000000],"data_offsets":[0,10000000000000]}}'
    file = tmp_path / "huge.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 100)
    with pytest.raises(CheckpointError, match="damaged safetensors"):
        read_weights(file)


@pytest.mark.parametrize("kind", ["pdparams", "pth", "safetensors"])
def test_truncated_at_every_percent_is_refused(
    network: torch.nn.Module, tmp_path: Path, kind: str
) -> None:
    state = network.state_dict()
    whole = tmp_path / f"whole.{kind}"
    if kind == "pth":
        torch.save(state, whole)
    elif kind == "pdparams":
        from fleetnet.models import MODELS
        from fleetnet.weights.identify import from_ours

        write_weights(whole, from_ours(state, MODELS["MobileNetV2_x0_25"], Adapter(PADDLE)))
    else:
        save_file(state, whole)
    content = whole.read_bytes()
    assert read_weights(whole).state
    cut = tmp_path / "cut"
    for percent in range(100):
        cut.write_bytes(content[: len(content) * percent // 100])
        with pytest.raises(CheckpointError) as error:
            read_weights(cut)
        assert "\n" not in str(error.value)


def test_a_checkpoint_that_is_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    from fleetnet.training.checkpoint import Checkpoint

    file = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(CheckpointError, match="compressed archive"):
        Checkpoint.load(file)


def test_a_pickle_of_endless_instructions_is_refused() -> None:
    content = b"\x80\x02" + b"]0" * 600_000 + b"}."
    with pytest.raises(PickleDamaged, match="over 1,000,000 pickle instructions"):
        load(content)


def test_a_pickle_that_asks_for_a_huge_memo_is_refused() -> None:
    with pytest.raises(PickleDamaged, match="numbers entries wildly"):
        load(b"\x80\x02}r\xff\xff\xff\x7f.")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"x": np.array([object()])}, "'x' is an array of"),
        ({"x": np.array(["text"])}, "'x' is an array of type"),
        ([1, 2], "holds no weights"),
        (np.zeros(3), "holds no weights"),
    ],
)
def test_a_pickle_that_is_no_dict_of_arrays_is_refused(
    tmp_path: Path, content: object, words: str
) -> None:
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(CheckpointError, match=words):
        read_weights(tmp_path / "x.pdparams")


def test_an_array_whose_bytes_do_not_fit_is_refused() -> None:
    pieces: tuple[Any, ...] = tuple(np.zeros(1, np.float32).__reduce__())

    class Lie:
        def __reduce__(self) -> tuple[object, ...]:
            rebuild, arguments = pieces[0], pieces[1]
            return rebuild, arguments, (1, (10**12,), np.dtype("f4"), False, b"\0" * 4)

    with pytest.raises(Unfit, match="do not fit its shape"):
        load(pickle.dumps({"x": Lie()}, 3))["x"].numpy()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100))
def test_garbage_after_a_pickle_header_is_refused_or_empty(data: bytes) -> None:
    try:
        load(b"\x80\x02" + data)
    except PickleDamaged as error:
        message = str(error)
        assert message


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "u1", "b1", ">f4"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_plain_type_are_read_exactly(dtype: str, protocol: int) -> None:
    values: dict[str, Any] = {
        "flat": np.arange(6).astype(dtype),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3).astype(dtype)),
        "scalar": np.array(1).astype(dtype),
        "empty": np.zeros((0, 3), dtype),
        "StructuredToParameterName@@": {"flat": "linear_0.w_0"},
    }
    found = load(pickle.dumps(values, protocol))
    assert found.pop("StructuredToParameterName@@") == {"flat": "linear_0.w_0"}
    for key, value in found.items():
        assert np.array_equal(value.numpy(), values[key])
        assert value.numpy().dtype == np.dtype(dtype)


def test_pdparams_are_written_under_the_name_that_every_numpy_knows(
    network: torch.nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / "w.pdparams"
    write_weights(file, network.state_dict())
    content = file.read_bytes()
    assert b"numpy.core.multiarray" in content
    assert b"numpy._core" not in content
    for key, value in read_weights(file).state.items():
        assert torch.equal(value, network.state_dict()[key])


def test_at_most_ten_keys_of_each_kind_of_misfit_are_listed(network: torch.nn.Module) -> None:
    state = dict(network.state_dict())
    for key in [key for key in state if key.startswith("blocks.3.")]:
        del state[key]
    state["surprise"] = torch.zeros(1)
    state["head.conv.weight"] = torch.zeros(2, 2, 1, 1)
    with pytest.raises(CheckpointError) as error:
        find_network(find_tables(state, 2**30), "file.pth")
    message = str(error.value)
    assert "MobileNetV2_x0_25 from Fleetnet" in message
    assert "and 5 more" in message
    assert "unexpected: surprise" in message
    assert "head.conv.weight is (2, 2, 1, 1), not (1280, 80, 1, 1)" in message


def test_weights_of_something_else_are_said_to_be(tmp_path: Path) -> None:
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match="no network known here"):
        create_model("MobileNetV2", weights=tmp_path / "resnet.pth")


def test_another_number_of_classes_is_an_error_unless_the_head_is_replaced(
    network: torch.nn.Module, tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    save_file(network.state_dict(), file)
    with pytest.raises(CheckpointError, match="has 3 classes, not 5"):
        create_model("MobileNetV2_x0_25", 5, weights=file)
    said: list[str] = []
    tuned = create_model("MobileNetV2_x0_25", 5, weights=file, replace_head=True, say=said.append)
    assert "classifier of 3 classes is replaced by a fresh one of 5" in said[-1]
    assert torch.equal(
        tuned.get_parameter("stem.conv.weight"), network.get_parameter("stem.conv.weight")
    )
    with pytest.raises(CheckpointError, match="does not fit ReXNet_1_0"):
        create_model("ReXNet_1_0", 3, weights=file)
