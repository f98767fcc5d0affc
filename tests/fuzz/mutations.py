"""Damage picture files in every way, and see that each gets an answer.

    python tests/fuzz/mutations.py --count 10000 --seed 1

A seeded mutation of a file of every accepted format: flipped bits, cut or doubled or exchanged
pieces, wrong headers, absurd sizes. Each is decoded as `protect run` would, in a process that is
given up where it hangs, and may use neither ten seconds of computing nor 2 GiB. Prints one JSON
document; exits with 1 if a mutation got no answer, that is a picture within the limits or a refusal
with a reason.
"""

import argparse
import json
import os
import random
import re
import resource
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from pictures import HAS_AVIF, encoded, picture, png_header, turned
from PIL import Image

from protect.data.decode import decode
from protect.errors import ImageRefused

PATIENCE = 120.0
"""Seconds by the clock, of which a busy machine may lose many; after these it hangs."""
MOST_WORK = 10.0
"""Seconds of computing that one picture may cost."""
MOST_MEMORY = 2 << 30
MAX_PIXELS = 178_956_970
SIZES = (0, 1, 2, 255, 256, 13_377, 32_767, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def originals() -> dict[str, bytes]:
    """Return a small file of every accepted format, in several layouts."""
    kinds = {
        "PNG": [("RGB", {}), ("P", {}), ("LA", {}), ("1", {}), ("RGBA", {"exif": turned(6)})],
        "JPEG": [("RGB", {"exif": turned(5)}), ("L", {}), ("RGB", {"progressive": True})],
        "WEBP": [("RGB", {}), ("RGBA", {"lossless": True, "exif": turned(3)})],
        "GIF": [("P", {}), ("L", {})],
        "TIFF": [
            ("RGB", {"exif": turned(8)}),
            ("1", {"compression": "group4"}),
            ("RGB", {"compression": "tiff_lzw"}),
            ("LA", {"compression": "tiff_adobe_deflate"}),
            ("RGB", {"compression": "jpeg"}),
        ],
        "BMP": [("RGB", {}), ("P", {}), ("1", {})],
        "DIB": [("RGB", {})],
        "PPM": [("RGB", {}), ("L", {}), ("1", {})],
        "JPEG2000": [("RGB", {}), ("LA", {}), ("RGB", {"no_jp2": True})],
        "AVIF": [("RGB", {}), ("RGBA", {})] if HAS_AVIF else [],
    }
    files = {
        f"{name}-{number}": encoded(picture(mode, (40, 30), number), name, **options)
        for name, variants in kinds.items()
        for number, (mode, options) in enumerate(variants)
    }
    frames = [picture("RGB", (20, 20), seed) for seed in range(3)]
    for name in ("GIF", "PNG", "WEBP", "TIFF", "MPO"):
        files[f"{name}-frames"] = encoded(frames[0], name, save_all=True, append_images=frames[1:])
    return files


def flip_bits(data: bytearray, draws: random.Random) -> None:
    for _ in range(draws.choice((1, 1, 2, 8, 64))):
        data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)


def flip_early_bits(data: bytearray, draws: random.Random) -> None:
    """Headers are at the start."""
    for _ in range(draws.randint(1, 4)):
        data[draws.randrange(min(64, len(data)))] = draws.randrange(256)


def cut(data: bytearray, draws: random.Random) -> None:
    del data[draws.randrange(len(data)) :]


def drop_a_piece(data: bytearray, draws: random.Random) -> None:
    start = draws.randrange(len(data))
    del data[start : start + draws.randint(1, 64)]


def double_a_piece(data: bytearray, draws: random.Random) -> None:
    start = draws.randrange(len(data))
    data[start:start] = data[start : start + draws.randint(1, 256)] * draws.choice((1, 2, 500))


def overwrite_with_noise(data: bytearray, draws: random.Random) -> None:
    start = draws.randrange(len(data))
    piece = draws.randbytes(draws.randint(1, 64))
    data[start : start + len(piece)] = piece


def wrong_header(data: bytearray, draws: random.Random) -> None:
    """The start of another format."""
    other = draws.choice(list(originals().values()))
    length = draws.choice((2, 4, 8, 12, 16, 32))
    data[:length] = other[:length]


def absurd_number(data: bytearray, draws: random.Random) -> None:
    """Some field of two or four bytes, such as a width or an offset, says something absurd."""
    size, letter = draws.choice(((2, "H"), (4, "I")))
    value = draws.choice([value for value in SIZES if value < 1 << (8 * size)])
    start = draws.randrange(max(1, min(len(data), draws.choice((64, 4096))) - size))
    data[start : start + size] = struct.pack(draws.choice("<>") + letter, value)


def absurd_size(data: bytearray, draws: random.Random) -> None:
    """A proper header of absurd width and height, with the pixels of a small picture."""
    width, height = draws.choice(SIZES), draws.choice(SIZES)
    if data.startswith(b"\x89PNG"):
        data[:33] = png_header(width, height, draws.choice((1, 8, 8)), draws.choice((0, 2, 3, 6)))
    elif data.startswith(b"P"):
        data[:] = re.sub(rb"^(P.)\s+\d+ \d+", b"\\1 %d %d" % (width, height), bytes(data))
    elif data.startswith(b"BM"):
        data[18:26] = struct.pack("<ii", min(width, 2**31 - 1), -min(height, 2**31 - 1))
    elif data.startswith(b"GIF"):
        data[6:10] = struct.pack("<HH", width % 65536, height % 65536)
    elif b"\xff\xc0" in data:
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", height % 65536, width % 65536)
    else:
        absurd_number(data, draws)


MUTATIONS = (
    flip_bits,
    flip_early_bits,
    cut,
    drop_a_piece,
    double_a_piece,
    overwrite_with_noise,
    wrong_header,
    absurd_number,
    absurd_size,
)


def mutation(seed: int, number: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    """Return mutation `number` of a seed, with its name: the same on every call."""
    draws = random.Random(f"{seed}/{number}")
    name = draws.choice(sorted(files))
    data = bytearray(files[name])
    words = [name]
    for mutate in draws.choices(MUTATIONS, k=draws.choice((1, 1, 1, 2, 3))):
        if data:
            mutate(data, draws)
            words.append(mutate.__name__)
    return " ".join(words), bytes(data)


def answer(path: Path) -> str:
    """Decode, and say what came of it; "defect" is the answer that must not be."""
    try:
        found = decode(path, MAX_PIXELS)
    except ImageRefused as refusal:
        return "refused" if refusal.message and refusal.hint else "defect: refused without reason"
    except BaseException:
        return f"defect: {traceback.format_exc()}"
    height, width, channels = found.pixels.shape
    is_sound = 0 < height * width <= MAX_PIXELS and channels in (1, 3)
    return "read" if is_sound else f"defect: a picture of {found.pixels.shape}"


def work(numbers: range, seed: int, out: int, folder: Path) -> None:
    """Answer one mutation after another, a line each before and after."""
    resource.setrlimit(resource.RLIMIT_AS, (2 * MOST_MEMORY, 2 * MOST_MEMORY))
    files = originals()
    path = folder / "picture"
    for number in numbers:
        path.write_bytes(mutation(seed, number, files)[1])
        os.write(out, f"{number}\n".encode())
        start = time.process_time()
        said = answer(path)
        seconds = time.process_time() - start
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if used > MOST_MEMORY:
            said = f"defect: {used >> 20} MiB were used"
        if seconds > MOST_WORK:
            said = f"defect: {seconds:.0f} s of computing"
        os.write(out, (json.dumps(said) + "\n").encode())


def answers(seed: int, count: int, folder: Path) -> dict[int, str]:
    """Ask for every mutation, starting a new process after each that hung or crashed."""
    found: dict[int, str] = {}
    while len(found) < count:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            work(range(len(found), count), seed, writer, folder)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as lines:
            buffered = b""
            while True:
                ready = select.select([lines], [], [], PATIENCE)[0]
                data = os.read(reader, 1 << 16) if ready else b""
                if not data:
                    break
                buffered += data
                *whole, buffered = buffered.split(b"\n")
                for line in whole:
                    if line.startswith(b'"'):
                        found[len(found)] = json.loads(line)
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if len(found) < count:
            hung = not ready
            found[len(found)] = f"defect: {'no answer in time' if hung else f'status {status}'}"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    start = time.monotonic()
    Image.init()
    files = originals()
    with tempfile.TemporaryDirectory(prefix="protect-fuzz-") as folder:
        found = answers(wanted.seed, wanted.count, Path(folder))
    kinds = Counter(said.partition(":")[0] for said in found.values())
    document = {
        "mutations": len(found),
        "formats": len(files),
        "seconds": round(time.monotonic() - start, 1),
        "answers": dict(kinds),
        "defects": [
            f"{number} ({mutation(wanted.seed, number, files)[0]}): {said}"
            for number, said in found.items()
            if said.startswith("defect")
        ],
    }
    print(json.dumps(document, indent=1))  # noqa: T201
    return 1 if document["defects"] else 0


if __name__ == "__main__":
    sys.exit(main())
