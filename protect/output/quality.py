"""How far a published picture is from its original: L-infinity, PSNR and SSIM.

Works on the 8-bit pixels actually written, in pieces, so that a huge picture needs little memory.
Knows numpy only.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PEAK = 255
_CHUNK = 1 << 18
"""Channel values compared at a time; the pieces then stay in the cache."""

# Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", 2004, section III.C.
_WINDOW = 11
_SIGMA = 1.5
_C1 = (0.01 * _PEAK) ** 2
_C2 = (0.03 * _PEAK) ** 2
_TILE = 96
"""Rows and columns of the SSIM map computed at a time; 64 to 192 took half the time of 512."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Distances between an original and its published version.

    Attributes:
        linf_levels: Largest change of any channel of any pixel, in 8-bit levels.
        psnr: Peak signal-to-noise ratio in dB; None where not one pixel changed.
        ssim: Structural similarity in [-1, 1]; None where a side is below its 11-pixel window.
    """

    linf_levels: int
    psnr: float | None
    ssim: float | None


def measure(original: NDArray[np.uint8], published: NDArray[np.uint8]) -> Quality:
    """Measure every distance of one picture.

    Args:
        original: Pixels (H, W, C), uint8.
        published: Pixels (H, W, C), uint8.

    Raises:
        ValueError: If the shapes differ, are not (H, W, C) or are empty, or a type is not uint8.
    """
    largest, squares = _differences(original, published)
    return Quality(
        linf_levels=largest,
        psnr=_psnr_of(squares, original.size),
        ssim=ssim(original, published),
    )


def psnr(original: NDArray[np.uint8], published: NDArray[np.uint8]) -> float | None:
    """Peak signal-to-noise ratio over all channels.

    Args:
        original: Pixels (H, W, C), uint8.
        published: Pixels (H, W, C), uint8.

    Returns:
        `10 log10(255^2 / mean squared error)` in dB; None where the pictures are identical.

    Raises:
        ValueError: As `measure` does.
    """
    _, squares = _differences(original, published)
    return _psnr_of(squares, original.size)


def ssim(original: NDArray[np.uint8], published: NDArray[np.uint8]) -> float | None:
    """Structural similarity of Wang et al. 2004, averaged over positions and channels.

    The window is Gaussian, 11 x 11 with sigma 1.5, and never leaves the picture.

    Args:
        original: Pixels (H, W, C), uint8.
        published: Pixels (H, W, C), uint8.

    Returns:
        A number in [-1, 1], 1 where the pictures are identical; None where a side is below 11.

    Raises:
        ValueError: As `measure` does.
    """
    _require_comparable(original, published)
    height, width, channels = original.shape
    rows, columns = height - _WINDOW + 1, width - _WINDOW + 1
    if rows < 1 or columns < 1:
        return None
    count: int = rows * columns * channels
    total = 0.0
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            # Windows that start in this tile reach `_WINDOW - 1` pixels past it.
            tile = np.s_[
                top : min(top + _TILE, rows) + _WINDOW - 1,
                left : min(left + _TILE, columns) + _WINDOW - 1,
            ]
            total += _ssim_sum(original[tile], published[tile])
    return total / count


def _require_comparable(original: NDArray[np.uint8], published: NDArray[np.uint8]) -> None:
    if original.shape != published.shape:
        raise ValueError(f"the shapes differ: {original.shape} and {published.shape}")
    if original.ndim != 3 or not original.size:
        raise ValueError(f"pictures must be (H, W, C) and not empty, not {original.shape}")
    if original.dtype != np.uint8 or published.dtype != np.uint8:
        raise ValueError(f"pixels must be uint8, not {original.dtype} and {published.dtype}")


def _differences(original: NDArray[np.uint8], published: NDArray[np.uint8]) -> tuple[int, int]:
    """Largest absolute difference and sum of squared differences, both exact."""
    _require_comparable(original, published)
    before, after = original.reshape(-1), published.reshape(-1)
    largest = squares = 0
    for start in range(0, before.size, _CHUNK):
        piece = slice(start, start + _CHUNK)
        # uint8 would wrap: 3 - 5 is 254.
        change = np.subtract(after[piece], before[piece], dtype=np.int16)
        largest = max(largest, int(np.abs(change).max()))
        squares += int(np.square(change, dtype=np.int32).sum(dtype=np.int64))
    return largest, squares


def _psnr_of(squares: int, count: int) -> float | None:
    return 10 * math.log10(_PEAK**2 * count / squares) if squares else None


def _gaussian() -> NDArray[np.float32]:
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-((offsets / _SIGMA) ** 2) / 2)
    weights /= weights.sum()
    return weights.astype(np.float32)


_WEIGHTS = _gaussian()


def _ssim_sum(x_u8: NDArray[np.uint8], y_u8: NDArray[np.uint8]) -> float:
    """Sum of the SSIM map of one tile.

    With s = x + y and d = x - y, the four moments of s and d give all that SSIM needs:
    2 E[x] E[y] = (E[s]^2 - E[d]^2) / 2, E[x]^2 + E[y]^2 = (E[s]^2 + E[d]^2) / 2, and likewise for
    the covariance and the variances. That is one map fewer to filter than x, y, xx, yy and xy, and
    loses no digits where x and y are close.
    """
    x, y = x_u8.astype(np.float32), y_u8.astype(np.float32)
    moments = np.empty((4, *x.shape), np.float32)
    # Centred on 0: smaller squares round less, and variances do not mind the shift.
    np.add(x, y - _PEAK, out=moments[0])
    np.subtract(x, y, out=moments[1])
    np.square(moments[:2], out=moments[2:])
    means, squares = np.split(_blur(_blur(moments, axis=1), axis=2), 2)
    variances = squares - np.square(means)
    means[0] += _PEAK
    luminance = np.square(means) / 2
    structure = variances / 2
    similarity = (luminance[0] - luminance[1] + _C1) * (structure[0] - structure[1] + _C2)
    similarity /= (luminance[0] + luminance[1] + _C1) * (structure[0] + structure[1] + _C2)
    return float(similarity.sum(dtype=np.float64))


def _blur(maps: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Filter along `axis` with the Gaussian, shortening it by `_WINDOW - 1`."""
    length = maps.shape[axis] - _WINDOW + 1
    lead = (slice(None),) * axis

    def shifted(offset: int) -> NDArray[np.float32]:
        return maps[(*lead, slice(offset, offset + length))]

    half = _WINDOW // 2
    blurred: NDArray[np.float32] = shifted(half) * _WEIGHTS[half]
    pair = np.empty_like(blurred)
    for offset in range(half):
        # The window is symmetric, so two pixels share each weight.
        np.add(shifted(offset), shifted(_WINDOW - 1 - offset), out=pair)
        pair *= _WEIGHTS[offset]
        blurred += pair
    return blurred
