"""Checkpoints as training scripts write them: what is in them is found, and nothing else is."""

import argparse
import collections
import dataclasses
import datetime
import enum
import json
import pathlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import declare_torchvision_operators, timm_network, torchvision_network
from safetensors.torch import save_file
from torch import Tensor, nn

from fleetnet.errors import CheckpointError
from fleetnet.models import MODELS, build_model
from fleetnet.models.names import TIMM, TORCHVISION
from fleetnet.weights.adapter import Adapter
from fleetnet.weights.find import Found, find_network
from fleetnet.weights.identify import from_ours, template, to_ours
from fleetnet.weights.read import WeightsFile, read_weights
from fleetnet.weights.tables import find_tables

pytestmark = pytest.mark.slow  # two hundred whole networks

NAME = "mobilenetv2_035"
State = dict[str, Tensor]


class Phase(enum.Enum):
    FIT = 1


@dataclasses.dataclass
class Settings:
    lr: float = 0.1
    inner: Any = None


def counted(state: State) -> State:
    counters = {
        key.replace("running_var", "num_batches_tracked"): torch.tensor(7)
        for key in state
        if key.endswith("running_var")
    }
    return {**state, **counters}


@pytest.fixture(scope="module")
def ours() -> State:
    torch.manual_seed(1)
    state = build_model(NAME, 3).state_dict()
    return {key: value for key, value in state.items() if "num_batches" not in key}


@pytest.fixture(scope="module")
def timms(ours: State) -> State:
    return counted(from_ours(ours, MODELS[NAME], Adapter(TIMM)))


@pytest.fixture(scope="module")
def visions(ours: State) -> State:
    return counted(from_ours(ours, MODELS[NAME], Adapter(TORCHVISION)))


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def other(state: State) -> State:
    """Return other weights of the same shapes."""
    return {key: value + 1 for key, value in state.items()}


def thop(state: State) -> State:
    counters = {f"{key.rpartition('.')[0]}.total_ops": torch.zeros(1) for key in state}
    return {**state, **counters, "total_ops": torch.zeros(1), "total_params": torch.zeros(1)}


def check(file: WeightsFile | Found, ours: State) -> None:
    """The file's weights are ``ours``, to the bit."""
    assert file.identity.entry.name == NAME
    found = to_ours(file.state, file.identity)
    assert found.keys() == ours.keys()
    assert all(torch.equal(found[key], ours[key]) for key in ours)


SHAPES: dict[str, Callable[[State], Any]] = {
    "plain": dict,
    "ordered": collections.OrderedDict,
    "DataParallel": lambda s: {"state_dict": under("module.", s)},
    "compiled": lambda s: under("_orig_mod.", s),
    "DDP of compiled": lambda s: under("module._orig_mod.", s),
    "compiled of DDP": lambda s: under("_orig_mod.module.", s),
    "timm train.py": lambda s: {
        "epoch": 3,
        "arch": "x",
        "state_dict": s,
        "version": 2,
        "args": argparse.Namespace(lr=0.1),
        "metric": 71.2,
    },
    "timm train.py with EMA": lambda s: {"state_dict": other(s), "state_dict_ema": s},
    "torchvision reference": lambda s: {
        "model": s,
        "epoch": 1,
        "args": argparse.Namespace(lr=0.1),
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
        "lr_scheduler": collections.Counter(last=1),
    },
    "torchvision reference with EMA": lambda s: {
        "model": other(s),
        "model_ema": {"n_averaged": torch.tensor(5), **under("module.", s)},
    },
    "NumPy number": lambda s: {"state_dict": s, "best_acc": np.float64(71.2)},
    "NumPy array": lambda s: {"state_dict": s, "confusion": np.zeros((3, 3)), "n": np.int64(3)},
    "NumPy state": lambda s: {"weights": {key: value.numpy() for key, value in s.items()}},
    "pathlib": lambda s: {"state_dict": s, "path": pathlib.PurePosixPath("/a/b")},
    "datetime": lambda s: {"state_dict": s, "at": datetime.datetime(2024, 1, 2)},
    "defaultdict": lambda s: {"model": s, "log": collections.defaultdict(list, loss=[1.0])},
    "state in a defaultdict": lambda s: collections.defaultdict(list, s),
    "enum": lambda s: {"model": s, "phase": Phase.FIT},
    "dataclass": lambda s: {"model": s, "config": Settings(inner=Settings())},
    "sets and odd keys": lambda s: {"model": s, 3: {1, 2}, (1, 2): frozenset("ab"), None: b"x"},
    "function": lambda s: {"model": s, "loss": torch.nn.functional.cross_entropy},
    "generator": lambda s: {"model": s, "rng": np.random.RandomState(3).get_state()},
    "Lightning": lambda s: {
        "state_dict": under("model.", s),
        "hyper_parameters": Settings(),
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
    },
    "Lightning of compiled": lambda s: {"state_dict": under("model._orig_mod.", s)},
    "Lightning, nested": lambda s: {"state_dict": under("model.model.", s)},
    "Lightning with a loss": lambda s: {
        "state_dict": {**under("model.", s), "criterion.weight": torch.ones(3)}
    },
    "Lightning with an averaged copy": lambda s: {
        "state_dict": {**under("model.", other(s)), **under("ema_model.module.", s)}
    },
    **{
        f"averaged under {name}": partial(lambda name, s: {"model": other(s), name: s}, name)
        for name in ("modelEma", "emaModel", "ModelEMA", "EMAModel", "swaModel2")
    },
    "Lightning's WeightAveraging": lambda s: {
        "state_dict": s,
        "current_model_state": other(s),
    },
    "loss in the network": lambda s: {**s, "loss_fn.weight": torch.ones(3)},
    "cost matrix": lambda s: {**under("net.", s), "criterion.costs": torch.ones(3, 3)},
    "AveragedModel": lambda s: {**under("module.", s), "n_averaged": torch.tensor(5)},
    "PyTorch's tutorial": lambda s: {
        "epoch": 1,
        "model_state_dict": s,
        "optimizer_state_dict": {"state": {}},
        "loss": torch.tensor(1.0),
    },
    "model_state": lambda s: {"model_state": s},
    "params": lambda s: {"params": s, "params_ema": None},
    "params_ema": lambda s: {"params": other(s), "params_ema": s},
    "deep": lambda s: {"a": {"b": [{"c": {"d": under("e.f.g.", s)}}]}},
    "thop": thop,
    "student and teacher": lambda s: {"teacher": other(s), "student": under("student.", s)},
    "half the digits": lambda s: {key: value.double() for key, value in s.items()},
    "parameters": lambda s: {
        key: nn.Parameter(value) if value.is_floating_point() else value for key, value in s.items()
    },
    "transposed storage": lambda s: {
        key: value.transpose(0, 1).contiguous().transpose(0, 1) if value.ndim > 1 else value
        for key, value in s.items()
    },
    **{
        prefix: partial(lambda prefix, s: {"state_dict": under(prefix, s)}, prefix)
        for prefix in ("net.", "backbone.", "encoder.", "network.", "student.", "0.", "a-b.c.")
    },
}


@pytest.mark.parametrize(
    ("layout", "legacy"), [("timms", False), ("timms", True), ("visions", False)]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_recognised(
    shape: str,
    layout: str,
    legacy: bool,
    ours: State,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    state = request.getfixturevalue(layout)
    file = tmp_path / "theirs.pth"
    torch.save(SHAPES[shape](state), file, _use_new_zipfile_serialization=not legacy)
    check(read_weights(file), ours)


WRAPPERS = [
    *("state_dict", "model", "model_state_dict", "model_state", "weights", "params", "net"),
    *("ema", "model_ema", "ema_state_dict", "state_dict_ema", "my favourite", "0"),
]
PREFIXES = [
    *("module.", "_orig_mod.", "model.", "net.", "backbone.", "encoder.", "network.", "student."),
    *("ema_model.", "features.", "classifier.", "stem.", "conv1.", "0.", "blocks."),
]


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.sampled_from(WRAPPERS), max_size=4),
    st.lists(st.sampled_from(PREFIXES), max_size=4),
    st.sampled_from([None, "criterion.weight", "optimizer", "n_averaged", "args"]),
    st.sampled_from(["timms", "visions", "ours"]),
)
def test_any_nesting_of_wrappers_and_prefixes_is_recognised(
    ours: State,
    timms: State,
    visions: State,
    wrappers: list[str],
    prefixes: list[str],
    stray: str | None,
    layout: str,
) -> None:
    value: Any = under(
        "".join(prefixes), {"timms": timms, "visions": visions, "ours": ours}[layout]
    )
    for wrapper in wrappers:
        value = {wrapper: value}
        if stray:
            value[stray] = torch.ones(1)
    found = find_network(find_tables(value, 2**30), "file")
    check(found, ours)
    assert found.steps == tuple(filter(None, (*reversed(wrappers), "".join(prefixes))))


def test_entries_that_are_left_out_are_counted_and_reported(timms: State, tmp_path: Path) -> None:
    content = {
        "state_dict": {
            **under("model.", other(timms)),
            **under("ema_model.module.", thop(timms)),
            "criterion.weight": torch.ones(3),
        },
        "optimizer": {"state": [torch.ones(2), torch.ones(2)]},
        "args": argparse.Namespace(when=datetime.timedelta(1)),
    }
    torch.save(content, tmp_path / "c.pth")
    read = read_weights(tmp_path / "c.pth")
    assert read.unwrapped == ("state_dict", "ema_model.module.")
    assert "state_dict.model (262 tensors)" in read.left_out
    assert "state_dict.criterion.weight" in read.left_out
    assert "optimizer (2 tensors)" in read.left_out
    assert any(text.startswith("total_ops (") for text in read.left_out)
    assert set(read.objects) == {"argparse.Namespace", "datetime.timedelta"}
    assert "argparse.Namespace" in read.remarks


REFUSED: dict[str, tuple[Callable[[State], Any], str]] = {
    "a part is missing": (
        lambda s: {key: value for key, value in s.items() if "classifier" not in key},
        r"missing: classifier\.bias, classifier\.weight",
    ),
    "a layer more inside": (
        lambda s: {**s, "blocks.0.0.se.weight": torch.zeros(3)},
        r"unexpected: blocks\.0\.0\.se\.weight",
    ),
    "a layer more inside, prefixed": (
        lambda s: {"model": under("module.", {**s, "blocks.7.0.weight": torch.zeros(3)})},
        r"unexpected: blocks\.7\.0\.weight",
    ),
    "a layer more beside": (
        lambda s: {**s, "head_dist.weight": torch.zeros(3, 1280)},
        r"unexpected: head_dist\.weight",
    ),
    "a layer after it": (
        lambda s: {**under("backbone.", s), "fc.weight": torch.zeros(5, 3)},
        r"goes on after it with fc\.weight",
    ),
    "a sequence": (
        lambda s: {**under("0.", s), "1.weight": torch.zeros(5, 3, 1, 1)},
        r"goes on after it with 1\.weight",
    ),
    "another shape": (
        lambda s: {**s, "conv_head.weight": torch.zeros(2, 2, 1, 1)},
        r"conv_head\.weight is \(2, 2, 1, 1\), not \(1280, 112, 1, 1\)",
    ),
    "whole numbers": (
        lambda s: {**s, "conv_head.weight": s["conv_head.weight"].to(torch.int8)},
        "'conv_head.weight' holds int8",
    ),
    "sparse": (
        lambda s: {**s, "classifier.weight": s["classifier.weight"].to_sparse()},
        "'classifier.weight' is sparse",
    ),
    "quantised": (
        lambda s: {
            **s,
            "classifier.weight": torch.quantize_per_tensor(
                s["classifier.weight"], 0.1, 0, torch.qint8
            ),
        },
        "'classifier.weight' is quantised",
    ),
    "meta": (
        lambda s: {key: value.to("meta") for key, value in s.items()},
        "of the meta device",
    ),
    "NaN": (
        lambda s: {"model": {**s, "bn1.bias": s["bn1.bias"] * float("nan")}},
        "'bn1.bias' holds NaN",
    ),
    "infinite in fp32": (
        lambda s: {key: value.double() * 1e300 for key, value in s.items()},
        r"'conv_stem.weight' holds NaN or infinite values \(\d+ of 314 tensors do\)",
    ),
    "nothing": (lambda _: {"epoch": 3}, "holds no weights"),
    "other networks": (
        lambda s: {"a": s, "b": build_model("MobileNetV2_x0_25", 3).state_dict()},
        "two different networks, mobilenetv2_035 under 'a' and MobileNetV2_x0_25 under 'b'",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_anything_but_one_whole_network_is_refused(kind: str, timms: State, tmp_path: Path) -> None:
    make, words = REFUSED[kind]
    torch.save(make(timms), tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match=words) as error:
        read_weights(tmp_path / "c.pth")
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_another_network_is_refused_with_its_first_keys(tmp_path: Path) -> None:
    declare_torchvision_operators()
    import timm as peer

    for name in ("resnet18", "tf_mobilenetv3_small_minimal_100"):
        state = peer.create_model(name).state_dict()
        torch.save({"state_dict": under("module.", state)}, tmp_path / "c.pth")
        with pytest.raises(CheckpointError, match=r"\(\d+ entries: \S+, .* more\); nearest is"):
            read_weights(tmp_path / "c.pth")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("legacy", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_whole_networks_are_taken_apart(legacy: bool, tmp_path: Path) -> None:
    for network in (timm_network(NAME), torchvision_network("mobilenet_v2, width 0.35")):
        for content in (network, {"model": nn.DataParallel(network), "epoch": 3}):
            file = tmp_path / "whole.pt"
            torch.save(content, file, _use_new_zipfile_serialization=not legacy)
            read = read_weights(file)
            assert read.identity.entry.name == NAME
            for key, value in network.state_dict().items():
                assert torch.equal(read.state[key], value)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_said_to_be(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "t.pt")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_weights(tmp_path / "t.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x1f\x8b" + b"x" * 20, "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"x" * 257 + b"ustar" + b"x" * 300, "tar archive"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
    ],
)
def test_files_of_other_kinds_are_said_to_be(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        read_weights(tmp_path / "c.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_read(
    dtype: torch.dtype, timms: State, ours: State, tmp_path: Path
) -> None:
    short = {key: value.to(dtype) if value.ndim else value for key, value in timms.items()}
    for name, save in (("c.pth", torch.save), ("c.safetensors", save_file)):
        save(short, tmp_path / name)
        read = read_weights(tmp_path / name)
        found = to_ours(read.state, read.identity)
        assert all(torch.equal(found[key], ours[key].to(dtype).float()) for key in ours)


def test_a_file_without_checksums_is_read_and_a_damaged_one_is_not(
    timms: State, ours: State, tmp_path: Path
) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(timms, tmp_path / "none.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    check(read_weights(tmp_path / "none.pth"), ours)
    torch.save(timms, tmp_path / "whole.pth")
    content = bytearray((tmp_path / "whole.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "whole.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights(tmp_path / "whole.pth")


class TestHubFolders:
    def test_the_file_and_what_is_beside_it(
        self, timms: State, ours: State, tmp_path: Path
    ) -> None:
        save_file(timms, tmp_path / "model.safetensors")
        torch.save({"no": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
        config = {
            "architecture": NAME,
            "label_names": ["ant", "bee", "cow"],
            "pretrained_cfg": {
                "input_size": [3, 96, 96],
                "crop_pct": 0.75,
                "interpolation": "bilinear",
                "mean": [0.5, 0.5, 0.5],
                "std": [0.25, 0.25, 0.25],
            },
        }
        (tmp_path / "config.json").write_text(json.dumps(config))
        read = read_weights(tmp_path)
        check(read, ours)
        assert read.path == tmp_path / "model.safetensors"
        assert read.config.classes == ("ant", "bee", "cow")
        assert read.config.preprocess is not None
        assert (read.config.preprocess.resize, read.config.preprocess.crop) == (128, 96)

    @pytest.mark.parametrize(
        "config", ["{", "[]", '{"pretrained_cfg": {"input_size": "x"}, "label_names": [1]}']
    )
    def test_a_config_that_says_nothing(self, timms: State, tmp_path: Path, config: str) -> None:
        torch.save(timms, tmp_path / "pytorch_model.bin")
        (tmp_path / "config.json").write_text(config)
        read = read_weights(tmp_path)
        assert (read.config.classes, read.config.preprocess) == ((), None)

    def test_id2label_of_transformers(self, timms: State, tmp_path: Path) -> None:
        save_file(timms, tmp_path / "model.safetensors")
        labels = {"id2label": {"1": "bee", "0": "ant", "2": "cow"}}
        (tmp_path / "config.json").write_text(json.dumps(labels))
        assert read_weights(tmp_path).config.classes == ("ant", "bee", "cow")

    def test_folders_without_one_file(self, timms: State, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no file of weights"):
            read_weights(tmp_path)
        (tmp_path / "model.safetensors.index.json").write_text("{}")
        with pytest.raises(CheckpointError, match="several pieces"):
            read_weights(tmp_path)
        (tmp_path / "model.safetensors.index.json").unlink()
        for name in ("a.pth", "b.pth"):
            torch.save(timms, tmp_path / name)
        with pytest.raises(CheckpointError, match=r"a\.pth, b\.pth"):
            read_weights(tmp_path)
        (tmp_path / "b.pth").unlink()
        assert read_weights(tmp_path).path.name == "a.pth"


def test_recognising_builds_one_network_without_values(timms: State) -> None:
    from fleetnet.weights import identify

    identify.template.cache_clear()
    find_network(find_tables(timms, 2**30), "file")
    assert identify.template.cache_info().misses == 1


@pytest.mark.parametrize("name", MODELS)
def test_templates_are_the_networks_own(name: str) -> None:
    with torch.device("meta"):
        state = build_model(name).state_dict()
    shapes = {key: value.shape for key, value in state.items() if "num_batches" not in key}
    assert {key: value.shape for key, value in template(name).items()} == shapes
