"""Measure what the tool costs, side by side with what it is compared with, in one run.

    python examples/benchmarks/speed.py [--part NAME]... [--out FOLDER]

| part | what is measured | compared with | minutes on 2 CPU cores |
|---|---|---|---|
| step | a round of the generation | the passes through the network that it needs | 2 |
| training | an epoch of a stranger's training, and its test | a bare loop of the same recipe | 2 |
| io | decode, apply, encode, prove; PNG's effort | a bare loop of Pillow; other levels | 4 |
| memory | peak memory of a run on 70,000 pictures | on 1,000 | 15 |
| startup | `protect --help` | a Python that does nothing | 1 |
| authors | a whole run | the steps of the authors' settings, extrapolated | 12 |
| quality | a stranger's accuracy after 1, 2, 5, 10 minutes of generation | the control | 35 |

Without --part all are measured but the last two, which need pictures in class folders: --train (and
--test), as `export_fashion_mnist.py` makes them. The io part takes real photos from --photos. What
else runs on the machine disturbs wall times, less so CPU times and ratios; its load is recorded.

Prints a table, and writes FOLDER/speed.json and FOLDER/speed.md.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from costs.figures import Comparison, Measurements
from costs.pictures import measure_flat_efforts, measure_io
from costs.processes import measure_memory, measure_startup
from costs.step import measure_step
from costs.training import measure_training
from costs.whole import measure_authors, measure_quality

from protect.console import Screen
from protect.documents.document import Tool
from protect.events import Notice
from protect.system.device import choose_device, thread_count, tool_facts

QUICK_PARTS = ("step", "training", "io", "memory", "startup")
PARTS = (*QUICK_PARTS, "authors", "quality")
PHOTOS = Path("/usr/share/tuxpaint/templates")
"""Photos of the Debian package `tuxpaint-data`."""
FEW, MANY = 2, 10


def main() -> None:
    """Measure the parts that are asked for, show them and write them down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", action="append", choices=PARTS, help="measure only this; repeats")
    parser.add_argument("--out", type=Path, default=Path("speed"), help="folder for the results")
    parser.add_argument("--device", default="auto", help="as that of `protect run`")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="real JPEG photos, for io")
    parser.add_argument("--published", type=Path, help="a protected folder, for PNG's effort too")
    parser.add_argument("--train", type=Path, help="class folders, for authors and quality")
    parser.add_argument("--test", type=Path, help="class folders, for quality")
    parser.add_argument("--quick", action="store_true", help="tiny: shows only that it works")
    wanted = parser.parse_args()
    wanted.part = wanted.part or list(QUICK_PARTS)
    problem = _problem(wanted)
    if problem:
        parser.error(problem)

    screen = Screen()
    device = choose_device(wanted.device)
    load_before = os.getloadavg()[0]
    rows: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="protect-speed-") as work:
        for part in (part for part in PARTS if part in wanted.part):
            screen.listen(Notice(f"measuring {part}"))
            folder = Path(work, part)
            folder.mkdir()
            rows.extend(_measure(part, wanted, device, folder, screen))
    measured = Measurements(
        tool=Tool(**tool_facts(device)),
        cpus=thread_count(None),
        threads=torch.get_num_threads(),
        load_before=load_before,
        load_after=os.getloadavg()[0],
        quick=wanted.quick,
        comparisons=tuple(rows),
    )
    screen.result(measured.table())
    wanted.out.mkdir(parents=True, exist_ok=True)
    (wanted.out / "speed.json").write_text(measured.model_dump_json(indent=1) + "\n")
    (wanted.out / "speed.md").write_text(measured.markdown())


def _measure(
    part: str, wanted: argparse.Namespace, device: torch.device, folder: Path, screen: Screen
) -> Iterator[Comparison]:
    """Measure one part, in an empty folder."""
    quick: bool = wanted.quick
    match part:
        case "step":
            yield from measure_step(device, quick=quick)
        case "training":
            yield from measure_training(device, quick=quick)
        case "io":
            photos = sorted(wanted.photos.glob("*.jpg"))[: FEW if quick else MANY]
            yield from measure_io(photos, folder, quick=quick)
            if wanted.published:
                yield from measure_flat_efforts(wanted.published, 20 * MANY)
        case "memory":
            yield from measure_memory(folder, quick=quick)
        case "startup":
            yield from measure_startup(quick=quick)
        case "authors":
            yield from measure_authors(wanted.train, folder, device, screen.listen, quick=quick)
        case "quality":
            yield from measure_quality(
                wanted.train, wanted.test, folder, device, screen.listen, quick=quick
            )


def _problem(wanted: argparse.Namespace) -> str:
    """Say what is missing for the parts that are asked for; empty for nothing."""
    if "io" in wanted.part and not any(wanted.photos.glob("*.jpg")):
        return f"{wanted.photos} holds no *.jpg: name a folder of photos with --photos"
    for part, flag in (("authors", "train"), ("quality", "train"), ("quality", "test")):
        folder = getattr(wanted, flag)
        if part in wanted.part and (folder is None or not folder.is_dir()):
            return f"--part {part} needs a folder with --{flag}: see export_fashion_mnist.py"
    if "memory" in wanted.part and not Path("/proc/self/status").exists():
        return "--part memory reads /proc, which this system does not have: use Linux"
    return ""


if __name__ == "__main__":
    main()
