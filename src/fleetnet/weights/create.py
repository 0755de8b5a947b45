"""A network by name, with weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetnet.amounts import count
from fleetnet.errors import CheckpointError
from fleetnet.models.registry import ModelEntry, build_model, find_model
from fleetnet.reporting import Say
from fleetnet.weights.settings_file import model_named
from fleetnet.weights.subject import file_of, find_weights_for

if TYPE_CHECKING:
    from fleetnet.models.base import Network


def create_model(
    name: str,
    num_classes: int = 1000,
    weights: str | Path | None = None,
    *,
    replace_head: bool = False,
    say: Say = lambda _: None,
    **arguments: Any,
) -> Network:
    """Build the network called ``name``, a plain ``torch.nn.Module``.

    Args:
        name: as in ``fleetnet models``, without regard to case; or the path of a settings file
            (``.yaml``), see :mod:`fleetnet.models.description`.
        num_classes: length of the logits.
        weights: a file of this network's weights, or a folder of the Hugging Face Hub: a Fleetnet
            checkpoint, or PaddleClas's, timm's, torchvision's or the ReXNet authors', recognised
            from its content, however it is wrapped; a run's folder or a bundle; or the name of
            a published set (such as ``paddle`` or ``timm``; ``fleetnet weights list``), which is
            fetched into the cache if it is not there; None for a fresh initialisation.
        replace_head: whether weights for another number of classes are accepted, with a fresh
            classifier, as for fine-tuning; otherwise they are an error.
        say: called with what the weights are, in a line.
        arguments: ``in_channels``, ``dropout``, ``drop_path`` (see
            :class:`fleetnet.models.network.MobileNetwork`).

    Returns:
        A module that takes normalised ``float32[N, in_channels, H, W]`` and gives
        ``float32[N, num_classes]``.

    Raises:
        ModelError: unknown name or argument.
        CheckpointError: ``weights`` cannot be read, or do not fit the network.
        FleetnetError: a published set is unknown or cannot be fetched.
    """
    name = model_named(name)
    network = build_model(name, num_classes, **arguments)
    if weights is not None:
        file = file_of(find_weights_for(name, weights), say=say)
        _load(network, find_model(name), file, replace_head, say)
    return network


def _load(network: Network, entry: ModelEntry, path: Path, replace_head: bool, say: Say) -> None:
    from fleetnet.weights.identify import to_ours
    from fleetnet.weights.read import read_weights
    from fleetnet.weights.state import load_state

    # Weights do not show an activation, nor under which name they were trained.
    file = read_weights(path, entry)
    identity = file.identity
    if entry != identity.entry:
        raise CheckpointError(
            f"{path} does not fit {entry.name}: it holds {identity.entry.name}, so name that "
            "network",
            file=str(path),
        )
    state = to_ours(file.state, identity)
    say(f"{path}: {identity.entry.name} from {identity.adapter.name} ({file.origin})")
    if file.remarks:
        say(f"left out: {file.remarks}")
    if identity.num_classes != network.num_classes:
        if not replace_head:
            raise CheckpointError(
                f"{path} has {count(identity.num_classes, 'class')}, not {network.num_classes}",
                file=str(path),
            )
        say(
            f"its classifier of {count(identity.num_classes, 'class')} is replaced by a fresh one "
            f"of {network.num_classes}"
        )
        replaced = network.classifier_parameters
        state = {key: value for key, value in state.items() if key not in replaced}
    own = network.state_dict()
    fresh = {key: value for key, value in own.items() if key not in state}
    load_state(network, {**fresh, **state}, str(path))
