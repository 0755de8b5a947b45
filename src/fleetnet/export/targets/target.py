"""What an export target says of itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fleetnet.bundle import Bundle, Manifest
from fleetnet.errors import INSTALL, FleetnetError, unknown
from fleetnet.export.separate.environment import Environment
from fleetnet.inference.engines import Logits, Pixels

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

Files = Mapping[str, bytes]
"""Contents of files by their plain names, the one that a runtime is given first."""
Run = Callable[[Pixels], Logits]
"""Maps ``uint8[N, crop, crop, 3]``, preprocessed RGB, to logits ``float32[N, K]``."""

Quantize = Callable[[Sequence[str]], Files]
"""Makes the files of a network in int8, in which the layers of these names stay in fp32."""


@dataclass(frozen=True)
class Imitated:
    """A :data:`Quantize` that can also answer as its files would, without making them.

    The search for layers to keep is done with that, and the files of what it finds are made and
    judged.

    Attributes:
        quantize: makes the files, which takes long.
        imitate: gives what answers nearly as they would, in less time.
    """

    quantize: Quantize
    imitate: Callable[[Sequence[str]], Run]

    def __call__(self, kept: Sequence[str]) -> Files:
        """Make the files."""
        return self.quantize(kept)


@dataclass(frozen=True)
class Int8:
    """How a target gets a network in int8 whose ranges are measured on real images.

    Attributes:
        tool: the package that rounds.
        calibrate: measures the ranges, of a bundle's network for batches of one size, on images,
            ``uint8[N, crop, crop, 3]``; of that network it is given all layers. What it gives is
            called for each choice of layers to keep, see :mod:`fleetnet.export.quantize.guard`; it
            is an :class:`Imitated` where files take long to make or to run.
        environment: that has the tool; None for the target's.
        one_size: whether its files take batches of one size only, though the target's others take
            any.
        weight_bits: of the weights that ``calibrate`` takes in a
            :class:`fleetnet.export.reweighted.Reweighted` bundle and rounds to the integers that
            they are multiples for; it has to convert what :mod:`fleetnet.export.program` gives.
            Empty where it takes a bundle's own weights alone.
    """

    tool: str
    calibrate: Callable[[Bundle, int | None, Pixels, Sequence[Layer]], Quantize]
    environment: Environment | None = None
    one_size: bool = False
    weight_bits: tuple[int, ...] = ()


def as_npy(pixels: Pixels) -> bytes:
    """Return images as a ``.npy`` file, for scripts that calibrate."""
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def plain_name(manifest: Manifest) -> str:
    """Return the network's name in letters, digits, hyphens and underscores."""
    return re.sub("[^a-z0-9_-]+", "-", manifest.model.name.casefold()).strip("-") or "model"


def only_one_image(batch: int | None, who: str) -> None:
    """Refuse another size of batch than one image.

    Args:
        batch: that was asked for; None if nothing was.
        who: takes the file.

    Raises:
        FleetnetError: another size was asked for.
    """
    if batch not in (None, 1):
        raise FleetnetError(
            f"{who} takes one image at a time: leave out fixed_batch=", arguments=["fixed_batch"]
        )


def any_batch(batch: int | None, why: str) -> None:
    """Refuse one size of batch, where ``why`` says that any will do.

    Raises:
        FleetnetError: a size was asked for.
    """
    if batch is not None:
        raise FleetnetError(f"{why}: leave out fixed_batch=", arguments=["fixed_batch"])


@dataclass(frozen=True)
class Target:
    """A format to convert to; its file declares it as ``TARGET``.

    Attributes:
        name: by which users choose it.
        title: its name for people.
        format: of the artifact that it makes; see :class:`fleetnet.bundle.Artifact`.
        precisions: those that it offers; the first is the default, fp32 if it is among them.
        package: what its users install to run it.
        command: what they then type, in a shell or in Python, with ``{file}`` for the first file.
        convert: makes the files of a bundle's network in a precision, for batches of one size, or
            of any where that is None.
        load: gives what runs such files here, to compare its answers with the network's; None
            where nothing here can.
        beside: gives files that are written beside those and the manifest, or in folders there, for
            people to change; None if there are none.
        samples: gives files of real images for tools that calibrate, of those that it is verified
            with, ``uint8[N, crop, crop, 3]``; None if there are none.
        version_folder: path of the folder that the files and the manifest go into, for servers
            that want a model's versions apart, and for projects; empty where they go into the
            output itself.
        around: gives files around that folder, of a manifest, by their paths.
        how: says, as Markdown, how to run the files, in place of ``package`` and ``command``; like
            ``takes`` it may have ``{batch}`` and ``{crop}``, the number of images and their side,
            and it may have ``{file}``, ``{images}``, a number that the files take, and ``{name}``,
            that of the network in plain signs.
        takes: says, as Markdown, what the files take, with ``{crop}`` for the side of an image; if
            empty, it is our graph's ``uint8[N, crop, crop, 3]``, RGB.
        gives: the type of the logits.
        needs: modules that converting and running take here, to what ``pip install`` brings each.
        environment: in which it is converted and run here; None where that is done in this one.
        made_by: packages of the environment that convert; the manifest names their versions.
        layers: runs the files in the same runtime and gives, in place of the logits, what all
            layers with weights compute, ``float32[N, …]``: in the order that they run, channels
            first. It is also given the bundle, and the size of batch. None where the runtime does
            not tell.
        anew: whether ``layers`` converts the bundle's network in fp32 once more, with its layers as
            its output, because files such as these cannot be asked: int8 then names no layer.
        int8: makes int8 with calibration images; where that is None, ``convert`` makes what it
            offers, and gets none.
        rejects: whether what answers with the files honours a bundle's rejection by itself.
        one_size: whether its files take batches of one size only, of one image unless another is
            asked for.
        simulated: whether what runs it here imitates a chip, so that its times say nothing of one.
        chips: that its files can be for, each for one.
        chip: that they are for; empty where that does not matter.
        on_chip: gives the target for another of :attr:`chips`.
    """

    name: str
    title: str
    format: str
    precisions: tuple[str, ...]
    package: str
    command: str
    convert: Callable[[Bundle, str, int | None], Files]
    load: Callable[[Files], Run] | None = None
    layers: Callable[[Bundle, Files, int | None], Run] | None = None
    anew: bool = False
    needs: Mapping[str, str] = field(default_factory=dict)
    beside: Callable[[Files, Manifest], Files] | None = None
    samples: Callable[[Pixels], Files] | None = None
    version_folder: str = ""
    around: Callable[[Manifest], Files] | None = None
    how: str = ""
    takes: str = ""
    gives: str = "float32"
    environment: Environment | None = None
    made_by: tuple[str, ...] = ()
    rejects: bool = False
    one_size: bool = False
    simulated: bool = False
    int8: Int8 | None = None
    chips: tuple[str, ...] = ()
    chip: str = ""
    on_chip: Callable[[str], Target] | None = None

    def for_chip(self, chip: str) -> Target:
        """Return the same target for a chip.

        Raises:
            FleetnetError: it knows no such chip, or its files are for none in particular.
        """
        if self.on_chip is None:
            raise FleetnetError(
                f"the files of '{self.name}' are for no chip in particular: leave out chip=",
                arguments=["chip"],
            )
        if chip not in self.chips:
            raise unknown("chip", chip, self.chips)
        return self.on_chip(chip)

    def run(self, files: Files, pixels: Pixels) -> Logits:
        """Load files and compute ``uint8[N, crop, crop, 3]``, giving logits ``float32[N, K]``.

        Raises:
            FleetnetError: nothing here runs them.
        """
        if self.load is None:
            raise FleetnetError(f"{self.title} cannot be run here: it takes {self.package}")
        return self.load(files)(pixels)

    @property
    def version(self) -> str:
        """Version of the package that runs it; empty where that is not installed here."""
        return self.version_of(self.package)

    def version_of(self, package: str) -> str:
        """Return the version of a package where it is run; empty where that is not installed."""
        if self.environment is not None:
            return self.environment.version(package)
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return ""

    @property
    def converters(self) -> dict[str, str]:
        """Versions of the packages that convert, by name."""
        if self.environment is None:
            return {}
        return {name: self.environment.version(name) for name in self.made_by}

    @property
    def lacking(self) -> str:
        """The first of :attr:`needs` that is not installed here; else empty."""
        return next((one for one in self.needs if importlib.util.find_spec(one) is None), "")

    def check_installed(self) -> None:
        """Refuse at once what would fail for want of a package; nothing is imported.

        Raises:
            FleetnetError: names the first that is missing, and what brings it.
        """
        if module := self.lacking:
            raise FleetnetError(
                f"the target '{self.name}' needs {module}, which is not installed: {INSTALL} "
                f"'{self.needs[module]}'",
                code="not-installed",
                package=module,
            )
        if self.environment is not None and self.environment.missing:
            raise FleetnetError(
                f"the target '{self.name}' needs {self.environment.missing}",
                code="not-installed",
                package=self.environment.name,
            )
