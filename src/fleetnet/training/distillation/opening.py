"""Opening whatever a person names as a teacher."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from fleetnet.amounts import count
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, one_line
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.files import sha256_of
from fleetnet.inference.engines import DEFAULT_ENGINE, engines_for, open_engine
from fleetnet.labels import imagenet_classes, printable
from fleetnet.models.registry import NAMES
from fleetnet.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess
from fleetnet.reporting import Say
from fleetnet.training.adopt import checkpoint_of
from fleetnet.training.distillation.teachers import EngineTeacher, NetworkTeacher, Teacher, ready
from fleetnet.weights.read import read_content
from fleetnet.weights.state import check_finite, load_state
from fleetnet.weights.subject import Subject, file_of, find_subject
from fleetnet.weights.tables import find_tables

TIMM = "timm:"
"""Begins the name of a network of the package timm: ``timm:resnet50``, or, with weights of one's
own, ``timm:resnet50:weights.pth``."""


def open_teachers(
    words: Sequence[str],
    classes: Sequence[str],
    device: torch.device,
    *,
    batch_statistics: bool = False,
    say: Say = lambda _: None,
) -> tuple[Teacher, ...]:
    """Open teachers that answer for these classes.

    Args:
        words: each names one, see :mod:`fleetnet.weights.subject` and :data:`TIMM`.
        classes: names of the student's classes, in its order.
        device: to compute on.
        batch_statistics: see :func:`fleetnet.training.distillation.teachers.ready`.
        say: called with what is being done, in a line.

    Raises:
        FleetnetError: there is no such network, it cannot be used, or it has other classes.
    """
    return tuple(
        _open(word, classes, device, batch_statistics=batch_statistics, say=say) for word in words
    )


def order_of(names: Sequence[str], classes: Sequence[str], teacher: str) -> list[int]:
    """Return where each of the student's classes is among the teacher's.

    Names decide; if the teacher has none but numbers, its order is taken for the student's.

    Raises:
        FleetnetError: the teacher has other classes.
    """
    if sorted(names) == sorted(classes):
        places = {name: place for place, name in enumerate(names)}
        return [places[name] for name in classes]
    if len(names) == len(classes) and list(names) == _unnamed(len(names)):
        return list(range(len(names)))
    odd = next((name for name in classes if name not in names), None)
    lacks = f"it lacks '{printable(odd)}'" if odd is not None else "it has more"
    raise FleetnetError(
        f"the teacher {teacher} has {count(len(names), 'class')}, the data "
        f"{count(len(classes), 'class')}, and {lacks}: a teacher answers for the classes of the "
        "data, so train it on them first"
    )


def _unnamed(number: int) -> list[str]:
    """Return the names that classes without names get."""
    return [f"class {index}" for index in range(number)]


def _open(
    word: str, classes: Sequence[str], device: torch.device, *, batch_statistics: bool, say: Say
) -> Teacher:
    if word.startswith(TIMM) and not _is_ours(word.removeprefix(TIMM)):
        network, preprocess, names, identity = _of_timm(word, len(classes))
        return NetworkTeacher(
            word,
            identity,
            ready(network, device, batch_statistics=batch_statistics),
            preprocess,
            _tensor(order_of(names, classes, word), device),
        )
    subject = find_subject(word)
    if subject.kind == "bundle":
        bundle = Bundle.load(subject.path)
        if bundle.find(format="safetensors") is None:
            return _of_graph(word, bundle, classes)
    file = file_of(subject, say=say)
    return _of_weights(
        word, subject, file, classes, device, batch_statistics=batch_statistics, say=say
    )


def _is_ours(name: str) -> bool:
    return name.casefold() in map(str.casefold, NAMES)


def _of_weights(
    word: str,
    subject: Subject,
    file: Path,
    classes: Sequence[str],
    device: torch.device,
    *,
    batch_statistics: bool,
    say: Say,
) -> Teacher:
    checkpoint = checkpoint_of(subject, file, say=say)
    _check_activation(word, checkpoint.activation)
    order = order_of(checkpoint.classes, classes, word)
    network = ready(checkpoint.network(), device, batch_statistics=batch_statistics)
    identity = sha256_of(file) if file.is_file() else _folder_identity(file)
    return NetworkTeacher(
        word,
        identity,
        network,
        checkpoint.preprocess,
        _tensor(order, device),
        checkpoint.trained_images,
    )


def _of_graph(word: str, bundle: Bundle, classes: Sequence[str]) -> Teacher:
    _check_activation(word, bundle.manifest.model.activation)
    order = order_of(bundle.manifest.classes, classes, word)
    engines = engines_for(bundle)
    name = DEFAULT_ENGINE if DEFAULT_ENGINE in engines or not engines else engines[0]
    engine = open_engine(name, bundle)
    return EngineTeacher(
        word,
        bundle.hash,
        engine,
        bundle.manifest.preprocess,
        torch.tensor(order),
        trained_images_of(bundle),
    )


def _check_activation(word: str, activation: str) -> None:
    if activation != "softmax":
        raise FleetnetError(
            f"the teacher {word} answers each class on its own ({activation}): distillation is for "
            "images with one class each"
        )


def _folder_identity(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return "-".join(sha256_of(path)[:16] for path in files)


def _tensor(order: list[int], device: torch.device) -> Tensor:
    return torch.tensor(order, device=device)


def _of_timm(word: str, classes: int) -> tuple[nn.Module, Preprocess, list[str], str]:
    """Return a network of the package timm, how it takes images, its classes and its identity.

    Raises:
        FleetnetError: timm is not installed or does not work, has no such network, or cannot fetch
            its weights.
        CheckpointError: the weights are not of this network.
    """
    name, colon, file = word.removeprefix(TIMM).partition(":")
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError:
        raise FleetnetError(
            f"the teacher {word} is a network of the package timm, which is not installed: pip "
            "install timm",
            code="not-installed",
            package="timm",
        ) from None
    except Exception as error:
        raise FleetnetError(f"the package timm cannot be loaded: {one_line(error)}") from None
    if not timm.is_model(name):
        raise FleetnetError(f"the package timm has no network '{name}', as the teacher {word} says")
    try:
        outputs = {"num_classes": classes} if colon else {}
        made = timm.create_model(name, pretrained=not colon, **outputs)
    except Exception as error:
        raise FleetnetError(
            f"timm cannot open '{name}': {one_line(error)}; weights of your own are named "
            f"{TIMM}{name}:FILE"
        ) from None
    network = cast("nn.Module", made)
    preprocess = _timms_preprocess(dict(getattr(network, "pretrained_cfg", {}) or {}))
    if colon:
        _load(network, Path(file))
        return network, preprocess, _unnamed(classes), f"{name}-{sha256_of(Path(file))}"
    given = int(getattr(network, "num_classes", 0))
    known = [entry.name for entry in imagenet_classes()]
    names = known if given == len(known) else _unnamed(given)
    return network, preprocess, names, f"{name}-{timm.__version__}"


def _load(network: nn.Module, file: Path) -> None:
    """Load a file of weights into a network that is not ours, trusting nothing in it."""
    content = read_content(file)
    own = set(network.state_dict())
    tables = find_tables(content.value, content.size)
    found = max(
        (table.entries for table in tables), key=lambda one: len(own & set(one)), default={}
    )
    check_finite(found, str(file))
    load_state(network, found, str(file))


def _timms_preprocess(config: dict[str, Any]) -> Preprocess:
    side = int(config.get("input_size", (3, 224, 224))[1])
    share = float(config.get("crop_pct") or 0.875)
    return Preprocess(
        resize=max(round(side / share), side),
        crop=side,
        interpolation="bicubic" if config.get("interpolation") == "bicubic" else "bilinear",
        mean=tuple(config.get("mean", IMAGENET_MEAN)),
        std=tuple(config.get("std", IMAGENET_STD)),
    )
