"""Fixed changes are Pillow's own, and each washes out the pattern that it should."""

import io

import numpy as np
import pytest
import torch
from helpers import noise_pictures
from PIL import Image
from torch import Tensor

from protect.evaluation.attacks.registry import make_attack

SIZE = 32
ROWS = torch.arange(SIZE)[:, None].expand(SIZE, SIZE)
COLUMNS = ROWS.T


def as_images(pictures: Tensor) -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in pictures.permute(0, 2, 3, 1).numpy()]


def as_tensor(images: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)


def edited(name: str, pictures: Tensor) -> Tensor:
    attack = make_attack(name)
    result = attack.edit(pictures, torch.zeros(len(pictures)).long())
    assert torch.equal(result, attack.edit_test(pictures))
    return result


@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90])
def test_jpeg_is_pillows_round_trip(quality):
    def round_trip(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, format="JPEG", quality=quality)
        return Image.open(io.BytesIO(file.getvalue())).copy()

    pictures = noise_pictures(5, (19, 33))
    expected = as_tensor([round_trip(image) for image in as_images(pictures)])
    assert torch.equal(edited(f"jpeg{quality}", pictures), expected)


def test_shifted_jpeg_cuts_every_block_in_four():
    pictures = noise_pictures(5, (24, 32))
    rolled = edited("jpeg10", pictures.roll((4, 4), dims=(2, 3))).roll((-4, -4), dims=(2, 3))
    assert torch.equal(edited("jpeg10-shifted", pictures), rolled)
    assert not torch.equal(rolled, edited("jpeg10", pictures))


def test_grey_is_pillows_luma_in_three_channels():
    pictures = noise_pictures(5)
    luma = [image.convert("L") for image in as_images(pictures)]
    grey = edited("grey", pictures)
    assert torch.equal(grey, as_tensor([Image.merge("RGB", [image] * 3) for image in luma]))
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 1], grey[:, 2])


def test_two_bits_are_four_levels_and_those_below():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    coarse = edited("bits2", levels)
    assert torch.equal(coarse, levels // 64 * 64)
    assert coarse.unique().tolist() == [0, 64, 128, 192]


def test_blur_spreads_a_point_like_a_gaussian_of_one_and_a_half_pixels():
    point = torch.zeros(1, 3, 31, 31, dtype=torch.uint8)
    point[:, :, 15, 15] = 255
    blurred = edited("blur", point)[0, 0].double()
    squares = (torch.arange(31) - 15).double() ** 2
    variance = (blurred.sum(dim=0) * squares).sum() / blurred.sum()
    assert variance.sqrt() == pytest.approx(1.5, abs=0.15)
    assert (blurred - blurred.T).abs().max() <= 1


FINE = torch.where((ROWS + COLUMNS) % 2 == 0, 8, -8).expand(3, SIZE, SIZE)
COARSE = torch.where(COLUMNS // 8 % 2 == 0, 8, -8).expand(3, SIZE, SIZE)
COLOURED = torch.stack([COARSE[0], -COARSE[0] * 41 // 80, COARSE[0] * 0])


@pytest.mark.parametrize(
    ("name", "pattern", "lowest", "highest"),
    [
        ("none", FINE, 1, 1),
        ("jpeg10", FINE, -0.05, 0.05),
        ("jpeg10", COARSE, 0.7, 1.3),
        ("jpeg10-shifted", FINE, -0.05, 0.05),
        ("jpeg30", FINE, -0.05, 0.6),
        ("jpeg90", FINE, 0.8, 1.2),
        ("grey", COARSE, 0.99, 1.01),
        ("grey", COLOURED, -0.1, 0.1),
        ("bits2", COARSE, 0, 0),
        ("blur", FINE, -0.05, 0.05),
        ("blur", COARSE, 0.6, 0.95),
        ("downup", FINE, -0.05, 0.05),
        ("downup", COARSE, 0.8, 1.05),
    ],
)
def test_what_is_left_of_a_pattern_of_eight_levels(name, pattern, lowest, highest):
    flat = torch.full((1, 3, SIZE, SIZE), 160, dtype=torch.uint8)
    noisy = (flat + pattern).to(torch.uint8)
    change = edited(name, noisy).double() - edited(name, flat).double()
    left = ((change * pattern).sum() / (pattern * pattern).sum()).item()
    assert lowest <= left <= highest


def test_a_picture_of_one_pixel_is_edited_too():
    pixel = torch.full((1, 3, 1, 1), 100, dtype=torch.uint8)
    assert torch.equal(edited("downup", pixel), pixel)
