"""One published picture: apply the noise, encode, write whole, read back, measure, record.

The budget is proved here, on the file as it lies on disk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protect.budget import publish, resize_noise, to_grey
from protect.config.choices import Rights
from protect.data.decode import Picture, decode, row_bands
from protect.data.discover import Sample
from protect.documents.manifest import ImageRecord, status_of
from protect.errors import GO_ON, ImageRefused, InputError, OutputError
from protect.noise import Noise
from protect.output.encode import encode_png
from protect.output.quality import measure
from protect.system.device import generator
from protect.system.files import is_within, write_atomically

SMALL_PIXELS = 1 << 14
"""Up to this many all channels of a picture are changed at once."""


class BrokenPromiseError(RuntimeError):
    """A file on disk is not what was computed, or exceeds the budget: a defect of this program."""


def apply_noise(pixels: NDArray[np.uint8], noise: Tensor) -> NDArray[np.uint8]:
    """Publish one picture with the noise of its class.

    Noise of which rounding would leave nothing is raised until it reaches one level: it is faint
    where a small picture averages it, most of all for a grey one of the anchor. A single pixel
    shows no pattern, and stays as it is.

    Args:
        pixels: (H, W, C), uint8, C = 1 for grey or 3.
        noise: (1 or 3, h, w), float32, in levels within the budget.

    Returns:
        (H, W, C), uint8; equal to `pixels` only for a single pixel, noise that is zero, and pixels
        that are saturated wherever it would change them.
    """
    height, width, channels = pixels.shape
    fitting = to_grey(noise) if channels == 1 else noise.expand(3, -1, -1)
    published = _add(pixels, fitting)
    if height * width > 1 and np.array_equal(published, pixels):
        loudest = float(resize_noise(fitting[None], height, width).abs().max())
        if 0 < loudest < 1:
            return _add(pixels, fitting / loudest)
    return published


def _add(pixels: NDArray[np.uint8], noise: Tensor) -> NDArray[np.uint8]:
    """Add noise of as many channels: (C, h, w), float32, in levels.

    A large picture is changed in bands of one channel, so that one of 100 megapixels needs no
    gigabytes beside itself.
    """
    height, width, channels = pixels.shape
    published = np.empty_like(pixels)
    together = channels if height * width <= SMALL_PIXELS else 1
    for first in range(0, channels, together):
        group = slice(first, first + together)
        own = resize_noise(noise[None, group], height, width)
        for rows in row_bands(height, width):
            planes = torch.from_numpy(pixels[rows, :, group].astype(np.float32))
            written = publish(planes.permute(2, 0, 1)[None], own[:, :, rows])[0]
            published[rows, :, group] = written.to(torch.uint8).permute(1, 2, 0).numpy()
    return published


@dataclass(frozen=True, slots=True, eq=False)
class Rendered:
    """A picture as it is to be published, and not on disk yet.

    Attributes:
        original: The picture as it was read.
        pixels: What is published of it, (H, W, C), uint8.
        data: The PNG file.
    """

    original: Picture
    pixels: NDArray[np.uint8]
    data: bytes


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the protected copy of a picture; safe to call from many threads.

    Attributes:
        folder: The output folder.
        noise: Of all classes.
        seed: Of where in it each picture's lies.
        class_index: Class name -> row of the noise.
        levels: The budget in whole 8-bit levels.
        max_pixels: Larger pictures are refused.
        rights: What the owner states on data mining; None for nothing.
    """

    folder: Path
    noise: Noise
    seed: int
    class_index: Mapping[str, int]
    levels: int
    max_pixels: int
    rights: Rights | None = None

    def target(self, name: str) -> Path:
        """Return where a picture with this output name is published.

        Raises:
            OutputError: If a link would lead the file out of the output folder.
        """
        target = self.folder / name
        if not is_within(target.parent, self.folder):
            raise OutputError(
                f"{target.parent} leads out of the output folder through a link",
                "remove that link, or choose another folder with -o",
            )
        return target

    def render(self, sample: Sample) -> Rendered:
        """Make the protected copy of one picture, and write nothing.

        Raises:
            InputError: If the source can no longer be read.
        """
        try:
            original = decode(sample.path, self.max_pixels)
        except ImageRefused as refusal:
            raise InputError(
                f"{sample.path} has changed since it was read, and {refusal.message}",
                f"{refusal.hint or 'put it back'}, then {GO_ON}",
            ) from None
        pixels = apply_noise(original.pixels, self._noise_of(sample))
        data = encode_png(pixels, original.alpha, original.icc_profile, self.rights)
        return Rendered(original, pixels, data)

    def publish(self, sample: Sample, name: str) -> ImageRecord:
        """Write one picture and return what is true of the file on disk.

        Whoever has written all of them calls `sync_folders`.

        Raises:
            InputError: If the source can no longer be read.
            OutputError: If a link would lead the file out of the output folder.
            MachineError: If the file cannot be written.
            BrokenPromiseError: If the file read back is not as computed or exceeds the budget, or
                cannot be read at all.
        """
        made = self.render(sample)
        original = made.original
        target = self.target(name)
        write_atomically(target, made.data, is_one_of_many=True)

        try:
            written = decode(target, self.max_pixels)
        except ImageRefused as refusal:
            raise BrokenPromiseError(f"{target} {refusal.message}") from refusal
        if not _same(written.pixels, made.pixels) or not _same(written.alpha, original.alpha):
            raise BrokenPromiseError(f"{target} does not read back as it was written")
        quality = measure(original.pixels, written.pixels)
        if quality.linf_levels > self.levels:
            raise BrokenPromiseError(
                f"{target} changes a pixel by {quality.linf_levels} levels, not {self.levels}"
            )
        return ImageRecord(
            source=sample.name,
            output=name,
            label=sample.label,
            source_sha256=original.sha256,
            output_sha256=written.sha256,
            width=original.width,
            height=original.height,
            linf_levels=quality.linf_levels,
            psnr=quality.psnr,
            ssim=quality.ssim,
            status=status_of(quality.linf_levels),
            notes=original.notes,
        )

    def _noise_of(self, sample: Sample) -> Tensor:
        """Return the noise of one picture: (1 or 3, h, w), the same whenever it is asked for."""
        draws = generator(self.seed, "window", sample.name)
        return self.noise.pattern(self.class_index[sample.label], draws)


def _same(one: NDArray[np.uint8] | None, other: NDArray[np.uint8] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
