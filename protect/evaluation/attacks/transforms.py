"""Fixed changes of every picture that wash out faint noise: JPEG, grey, fewer bits, blur, resize.

All go through Pillow, as a stranger's would, and are made of training and test pictures alike: a
change costs the stranger least where the network later sees pictures changed in the same way.
(APBench changes the training pictures only.) Pictures are changed at the size in which they are
cached.
"""

import io
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageChops, ImageFilter, ImageOps
from torch import Tensor

from protect.evaluation.attacks.base import Attack

BITS = 2
HALF_A_BLOCK = 4
"""Pixels; JPEG's blocks have 8."""
BLUR_SIGMA = 1.5
"""Pixels. APBench's 0.1 on three taps leaves every picture as it was."""


class PictureEdit(Attack, ABC):
    """A change of one picture at a time that needs neither labels nor draws."""

    @abstractmethod
    def change(self, picture: Image.Image) -> Image.Image:
        """Return the changed picture, of the same size, in mode RGB or L."""

    def edit(self, pixels: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Change each training picture, see `Attack.edit`."""
        return self.edit_test(pixels)

    def edit_test(self, pixels: Tensor) -> Tensor:
        """Change each picture.

        Args:
            pixels: (B, 3, H, W), uint8, any device.

        Returns:
            The same shape, type and device.
        """
        pictures = pixels.permute(0, 2, 3, 1).cpu().numpy()
        changed = [
            np.asarray(self.change(Image.fromarray(picture)).convert("RGB")) for picture in pictures
        ]
        return torch.from_numpy(np.stack(changed)).permute(0, 3, 1, 2).to(pixels.device)


class Jpeg(PictureEdit):
    """Save as JPEG and read back, with Pillow's defaults: 4:2:0, so colours at half the size.

    Attributes:
        quality: Pillow's, 1 to 95.
    """

    quality: ClassVar[int]

    def change(self, picture: Image.Image) -> Image.Image:
        """Return what the file shows."""
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=self.quality)
        return Image.open(file)


class Jpeg10(Jpeg):
    """The quality at which the field's noise is known to fail."""

    name = "jpeg10"
    source = "JPEG quality 10, ISS (arXiv 2301.13838) and APBench"
    quality = 10


class ShiftedJpeg10(Jpeg10):
    """The same, after a crop that lays the blocks elsewhere than the noise may expect them."""

    name = "jpeg10-shifted"
    source = "JPEG quality 10, its blocks moved by half a block; ours, against noise made for JPEG"

    def change(self, picture: Image.Image) -> Image.Image:
        """Return what the file of the moved picture shows, moved back; edges wrap around."""
        moved = super().change(ImageChops.offset(picture, HALF_A_BLOCK))
        return ImageChops.offset(moved, -HALF_A_BLOCK)


class Jpeg30(Jpeg):
    """A small thumbnail's quality."""

    name = "jpeg30"
    source = "JPEG quality 30"
    quality = 30


class Jpeg50(Jpeg):
    """Halfway."""

    name = "jpeg50"
    source = "JPEG quality 50"
    quality = 50


class Jpeg75(Jpeg):
    """Pillow's own default quality, and that of many sites."""

    name = "jpeg75"
    source = "JPEG quality 75, as sites save"
    quality = 75


class Jpeg90(Jpeg):
    """A careful site's quality."""

    name = "jpeg90"
    source = "JPEG quality 90, as sites save"
    quality = 90


class Grey(PictureEdit):
    """Keep the luma of ITU-R 601, in three equal channels."""

    name = "grey"
    source = "greyscale, ISS (arXiv 2301.13838) and APBench"

    def change(self, picture: Image.Image) -> Image.Image:
        """Return the picture in grey."""
        return picture.convert("L")


class FewBits(PictureEdit):
    """Keep the two highest bits of each value: 0, 64, 128 or 192."""

    name = "bits2"
    source = "bit depth 2, APBench"

    def change(self, picture: Image.Image) -> Image.Image:
        """Return the posterised picture."""
        return ImageOps.posterize(picture, BITS)


class Blur(PictureEdit):
    """Blur with a Gaussian of 1.5 pixels, which Pillow makes of three box blurs."""

    name = "blur"
    source = "Gaussian blur, APBench, with sigma 1.5 for its 0.1"

    def change(self, picture: Image.Image) -> Image.Image:
        """Return the blurred picture."""
        return picture.filter(ImageFilter.GaussianBlur(BLUR_SIGMA))


class DownUp(PictureEdit):
    """Shrink to half the height and width, and enlarge again, both bilinear."""

    name = "downup"
    source = "resize by one half and back"

    def change(self, picture: Image.Image) -> Image.Image:
        """Return the coarser picture, at its old size."""
        halved = (max(picture.width // 2, 1), max(picture.height // 2, 1))
        small = picture.resize(halved, Image.Resampling.BILINEAR)
        return small.resize(picture.size, Image.Resampling.BILINEAR)
