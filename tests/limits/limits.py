"""Measure how far it goes: a folder of very many files, and a picture of very many pixels.

    python tests/limits/limits.py scan --files 100000
    python tests/limits/limits.py picture --width 12000 --height 9000 --mode RGB

Each measurement is of a process of its own. Prints one JSON document.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pictures import encoded
from PIL import Image

CLASSES = 100
RUN_FLAGS = ("--size", "32", "--rounds", "1", "-b", "4", "--preset", "quick", "--device", "cpu")
RUN_FLAGS += ("-j", "1", "--quiet", "--seed", "0")
SCAN = """
import json, sys, time
from pathlib import Path
from protect.data.discover import discover

def resident() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])

before, start = resident(), time.process_time()
listing = discover(Path(sys.argv[1]))
seconds = time.process_time() - start
print(json.dumps([len(listing.samples), seconds, resident() - before]))
"""


def scan(files: int, root: Path) -> dict[str, Any]:
    """List a tenth of so many files, then all of them.

    Returns:
        Computing seconds for all, and bytes of memory for each file more.
    """
    data = encoded(Image.new("RGB", (1, 1), "red"), "PNG")
    photos = root / "photos"
    for number in range(CLASSES):
        (photos / f"class-{number:04}").mkdir(parents=True)

    def write(numbers: range) -> None:
        for number in numbers:
            (photos / f"class-{number % CLASSES:04}" / f"{number:08}.png").write_bytes(data)

    def measure() -> list[Any]:
        words = [sys.executable, "-c", SCAN, photos]
        return json.loads(subprocess.run(words, capture_output=True, check=True).stdout)

    write(range(files // 10))
    few, _, memory_of_few = measure()
    write(range(files // 10, files))
    many, seconds, memory_of_many = measure()
    return {
        "files": many,
        "seconds": round(seconds, 2),
        "bytes_per_file": round((memory_of_many - memory_of_few) / (many - few)),
    }


def picture(width: int, height: int, mode: str, root: Path) -> dict[str, Any]:
    """Protect a few small pictures, then the same and a large one, in one thread.

    Returns:
        The record of the large one in the manifest, and the most memory that each run used.
    """
    small = encoded(Image.linear_gradient("L").resize((48, 48)).convert(mode), "PNG")
    for label in ("cats", "dogs"):
        (root / "photos" / label).mkdir(parents=True)
        for number in range(2):
            (root / "photos" / label / f"{number}.png").write_bytes(small)

    def most_memory(out: Path) -> int:
        words = [sys.executable, "-m", "protect", "run", root / "photos", "-o", out, *RUN_FLAGS]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    without = most_memory(root / "without")
    large = Image.linear_gradient("L").resize((width, height)).convert(mode)
    large.save(root / "photos/cats/large.jpg", quality=90)
    most = most_memory(root / "with")
    images = json.loads((root / "with/manifest.json").read_text())["images"]
    return {
        "image": next(image for image in images if image["source"] == "cats/large.jpg"),
        "megabytes_without": round(without / 1e6),
        "megabytes": round(most / 1e6),
        "bytes_per_pixel": round((most - without) / (width * height), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("scan").add_argument("--files", type=int, default=100_000)
    of_picture = kinds.add_parser("picture")
    of_picture.add_argument("--width", type=int, default=12_000)
    of_picture.add_argument("--height", type=int, default=9_000)
    of_picture.add_argument("--mode", choices=("L", "RGB"), default="RGB")
    wanted = vars(parser.parse_args())
    measure = {"scan": scan, "picture": picture}[wanted.pop("kind")]
    with tempfile.TemporaryDirectory(prefix="protect-limits-") as root:
        print(json.dumps(measure(**wanted, root=Path(root)), indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
