"""A picture of augmented images, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fleetnet.data.augment import Augment
from fleetnet.data.mix import Mix
from fleetnet.data.seeds import generator
from fleetnet.data.sources import Source
from fleetnet.errors import ImageError
from fleetnet.images import Pixels, decode
from fleetnet.text import shorten

WIDTH = 1200
GAP = 8
LINE = 24
FONT_SIZE = 16
CAPTION_LINES = 2
INK, FAINT, PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)


def preview(
    source: Source,
    indices: Sequence[int],
    augment: Augment,
    *,
    mixes: Sequence[tuple[str, Mix]] = (),
    variants: int = 5,
    seed: int = 0,
) -> Image.Image:
    """Draw a row for each image: the original, then its variants in the first epochs.

    The variants are those of training with this seed, because they depend only on the seed, the
    epoch and the image.

    Args:
        source: labelled images.
        indices: which of them.
        augment: how they are varied.
        mixes: mixing of whole batches, each with its name and a row of its own.
        variants: how many epochs to show.
        seed: of the run.

    Returns:
        An RGB picture, 1200 pixels wide. An image that cannot be read leaves a row with the reason.
    """
    sheet = _Sheet(columns=variants + 1, rows=len(indices) + len(mixes))
    sheet.head(["original", *(f"epoch {number}" for number in range(1, variants + 1))])
    for index in indices:
        names = _names(source, index)
        try:
            data = source.read(index)
            cells = [decode(data, augment.sample_bits)] + [
                augment.from_bytes(data, generator(seed, "image", epoch, index, 0))
                for epoch in range(1, variants + 1)
            ]
        except ImageError as error:
            sheet.row(f"{names}: {source.samples[index].name}: {error}", [])
        else:
            sheet.row(f"{names}: {source.samples[index].name}", cells)
    for number, (name, mix) in enumerate(mixes):
        pairs = [
            _mixed_pair(source, indices, augment, mix, (seed, number, column))
            for column in range(variants + 1)
        ]
        shown = [pair for pair in pairs if pair]
        sheet.row(name, [pixels for pixels, _ in shown], [lines for _, lines in shown])
    return sheet.image.crop((0, 0, WIDTH, sheet.bottom))


def _mixed_pair(
    source: Source, indices: Sequence[int], augment: Augment, mix: Mix, key: tuple[int, int, int]
) -> tuple[Pixels, list[str]] | None:
    """Return an image mixed with the next, and a line for the share of each class.

    Each pair has its own share, unlike in training, where a batch has one, so that more shares can
    be seen; None if either image cannot be read.
    """
    seed, number, column = key
    pair = [indices[(column + step) % len(indices)] for step in (0, 1)]
    targets = torch.zeros((2, len(source.classes)))
    for row, index in enumerate(pair):
        targets[row, list(source.samples[index].labels)] = 1.0
    try:
        varied = [
            augment.from_bytes(source.read(index), generator(seed, "image", 1, index, step))
            for step, index in enumerate(pair)
        ]
    except ImageError:
        return None
    pixels, shares = mix(
        torch.from_numpy(np.stack(varied)), targets, generator(seed, "mix", number, column)
    )
    named = [
        (share, source.classes[label])
        for label, share in enumerate(shares[0].tolist())
        if share >= 0.005
    ]
    return pixels[0].numpy(), [f"{share:.2f} {name}" for share, name in sorted(named, reverse=True)]


def _names(source: Source, index: int) -> str:
    names = [source.classes[label] for label in source.samples[index].labels]
    return ", ".join(names) or "no label"


class _Sheet:
    """A page of rows of square cells."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns = columns
        self.side = (WIDTH - GAP) // columns - GAP
        height = 2 * LINE + rows * ((1 + CAPTION_LINES) * LINE + self.side + 2 * GAP)
        self.image = Image.new("RGB", (WIDTH, height), PAPER)
        self.pen = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(FONT_SIZE)
        self.bottom = GAP

    def head(self, titles: Sequence[str]) -> None:
        """Write what each column shows."""
        for column, title in enumerate(titles):
            self._write(self._left(column), title, self.side, FAINT)
        self.bottom += LINE

    def row(
        self, title: str, cells: Sequence[Pixels], captions: Sequence[Sequence[str]] = ()
    ) -> None:
        """Add a row of pictures under its title, each with lines of caption if there are any."""
        self._write(self._left(0), title, WIDTH - 2 * GAP, INK)
        self.bottom += LINE
        for column, pixels in enumerate(cells):
            picture = Image.fromarray(pixels)
            scale = self.side / max(picture.size)
            size = (max(round(side * scale), 1) for side in picture.size)
            picture = picture.resize((next(size), next(size)), Image.Resampling.BICUBIC)
            # An original keeps its shape, in the middle of its cell.
            left = self._left(column) + (self.side - picture.width) // 2
            self.image.paste(picture, (left, self.bottom + (self.side - picture.height) // 2))
        self.bottom += self.side + GAP if cells else 0
        for number in range(CAPTION_LINES if captions else 0):
            for column, lines in enumerate(captions):
                line = "".join(lines[number : number + 1])
                self._write(self._left(column), line, self.side, FAINT)
            self.bottom += LINE
        self.bottom += GAP

    def _left(self, column: int) -> int:
        return GAP + column * (self.side + GAP)

    def _write(self, left: int, text: str, width: int, color: tuple[int, int, int]) -> None:
        text = " ".join(text.split())
        text = shorten(text, width, self.font.getlength)
        self.pen.text((left, self.bottom), text, fill=color, font=self.font)
