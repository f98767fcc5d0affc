"""From a method to a folder of protected pictures, within the budget, made once and kept."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from methods import Method, ProtectRun
from methods.base import Task
from torch import Tensor

import protect
from protect import RunConfig, protect_folder
from protect.config.choices import DEFAULT_MAX_PIXELS, Existing
from protect.config.settings import EFFORTS
from protect.config.values import Eps
from protect.data.cache import choose_size, probe_sizes
from protect.data.decode import decode
from protect.data.discover import Listing, Sample, discover
from protect.data.reading import Reading, read_pictures, require_pictures
from protect.events import Listener, StageAdvanced, stage
from protect.output.encode import encode_png
from protect.output.names import output_names
from protect.output.writer import BrokenPromiseError, apply_noise
from protect.system.device import make_deterministic
from protect.system.files import sha256_of, sha256_of_bytes, write_atomically
from protect.system.parallel import ordered_map
from protect.system.workspace import workspace

PACKAGE = Path(protect.__file__).parent


@dataclass(frozen=True, slots=True)
class Made:
    """A folder that a method made.

    Attributes:
        folder: Of the protected pictures.
        settings: Of the method.
        seconds: That it took.
    """

    folder: Path
    settings: dict[str, Any]
    seconds: float


class Owner:
    """Who protects: the pictures, the budget, and where finished work is kept.

    Args:
        source: Folder of the pictures.
        work: Folder for what is made.
        eps: Budget.
        size: Side in pixels at which networks see the pictures; None picks it from them.
        seed: Of every draw.
        device: Where to compute.
        threads: That decode and encode.
        listener: Told what happens.
    """

    def __init__(
        self,
        source: Path,
        work: Path,
        *,
        eps: Eps,
        size: int | None,
        seed: int,
        device: torch.device,
        threads: int,
        listener: Listener,
    ) -> None:
        self.source = source
        self.work = work
        self.eps = eps
        self.seed = seed
        self.device = device
        self.threads = threads
        self.listener = listener
        self.listing = discover(source)
        sizes = probe_sizes(self.listing.samples, DEFAULT_MAX_PIXELS)
        self.size = size or choose_size(sizes, device.type != "cpu")
        self.digest = digest_of(self.listing)

    def protected_by(self, name: str, method: Method | ProtectRun) -> Made:
        """Return the folder that a method made of the pictures with these settings, made if new.

        Args:
            name: Of the method.
            method: With its settings.
        """
        settings = _settings(method)
        identity = {
            "settings": settings,
            "code": _code_of(method),
            "pictures": self.digest,
            "eps": self.eps.levels,
            "size": self.size,
            "seed": self.seed,
            "device": self.device.type,
        }
        key = sha256_of_bytes(json.dumps(identity, sort_keys=True).encode())[:12]
        folder = self.work / f"{name}-{key}"
        facts = self.work / f"{name}-{key}.json"
        if not facts.exists():
            make_deterministic()
            start = time.perf_counter()
            if isinstance(method, ProtectRun):
                self._run(method, folder)
            else:
                self._write(method, folder)
            seconds = round(time.perf_counter() - start, 1)
            content = json.dumps({**identity, "seconds": seconds}, indent=1, sort_keys=True)
            write_atomically(facts, content.encode() + b"\n")
        return Made(folder, settings, json.loads(facts.read_bytes())["seconds"])

    def _run(self, method: ProtectRun, output: Path) -> None:
        config = RunConfig(
            source=self.source,
            output=output,
            eps=self.eps,
            size=self.size,
            seed=self.seed,
            device=str(self.device),
            workers=self.threads,
            offline=True,
            binding=method.binding,
            targets=method.targets,
            mode=method.mode,
            harden=method.harden,
            preset=method.preset,
            rounds=method.rounds,
            batch_size=method.batch_size,
            existing=Existing.RESUME,
        )
        protect_folder(config, self.listener)

    def _write(self, method: Method, output: Path) -> None:
        with workspace("strength-") as folder:
            reading = read_pictures(
                self.listing,
                folder / "pixels.npy",
                size=self.size,
                accelerated=self.device.type != "cpu",
                at_room=False,
                threads=self.threads,
                max_pixels=DEFAULT_MAX_PIXELS,
                listener=self.listener,
            )
            require_pictures(reading, skip_refused=False)
            noise = method.noise(self._task(reading))
        rows = torch.arange(len(noise))
        if len(noise) == len(self.listing.classes):
            rows = reading.pictures.labels
        self._publish(reading.samples, noise, rows, output)

    def _task(self, reading: Reading) -> Task:
        channels = 1 if bool(reading.pictures.grey.all()) else 3
        return Task(
            pictures=reading.pictures,
            classes=len(self.listing.classes),
            noise_shape=(channels, *reading.grid_within(reading.size)),
            levels=self.eps.levels,
            size=reading.size,
            seed=self.seed,
            device=self.device,
            listener=self.listener,
        )

    def _publish(
        self, samples: tuple[Sample, ...], noise: Tensor, rows: Tensor, output: Path
    ) -> None:
        """Write every picture with its row of the noise; where that is zero, as it was."""
        names = output_names([sample.name for sample in samples])

        def write(item: tuple[Sample, int]) -> None:
            sample, row = item
            if not noise[row].any():
                write_atomically(output / sample.name, sample.path.read_bytes())
                return
            original = decode(sample.path)
            pixels = apply_noise(original.pixels, noise[row])
            change = int(np.abs(pixels.astype(np.int16) - original.pixels).max())
            if change > self.eps.levels:
                raise BrokenPromiseError(f"{sample.name} was to change by {change} levels")
            data = encode_png(pixels, original.alpha, original.icc_profile)
            write_atomically(output / names[sample.name], data)

        with stage("Writing images", len(samples), self.listener):
            items = zip(samples, rows.tolist(), strict=True)
            for _ in ordered_map(write, items, self.threads):
                self.listener(StageAdvanced())


def digest_of(listing: Listing) -> str:
    """Fingerprint the pictures of a folder with their names and classes."""
    lines = [[sample.name, sample.label, sha256_of(sample.path)] for sample in listing.samples]
    return sha256_of_bytes(json.dumps(lines).encode())


def _settings(method: Method | ProtectRun) -> dict[str, Any]:
    """Return what decides the noise beside the pictures and the budget, as JSON values."""
    settings = {
        key: value for key, value in asdict(method).items() if key not in ("title", "source")
    }
    if isinstance(method, ProtectRun):
        settings["effort"] = EFFORTS[method.preset].model_dump()
    return settings


@cache
def code_of_package(patterns: tuple[str, ...]) -> str:
    """Fingerprint those files of `protect` that are named by patterns below it.

    Raises:
        ValueError: If a pattern names no file, as after a move: its changes would go unseen.
    """
    files: list[Path] = []
    for pattern in patterns:
        named = sorted(PACKAGE.glob(pattern))
        if not named:
            raise ValueError(f"no file of the package is named by {pattern!r}")
        files += named
    return sha256_of_bytes("".join(map(sha256_of, files)).encode())


def _code_of(method: Method | ProtectRun) -> str:
    """Fingerprint a method's own module and what it stands on."""
    own = Path(str(sys.modules[type(method).__module__].__file__))
    return code_of_package(method.built_on) + sha256_of(own) + sha256_of(own.with_name("base.py"))
