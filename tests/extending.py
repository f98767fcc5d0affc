"""A finished run whose source changes, for the tests of `protect run --extend`."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases.gallery import put, tree
from helpers import cli
from pictures import encoded, picture
from typer.testing import Result

PHOTOS = [f"{label}/{number}.png" for label in "abc" for number in range(4)]


@dataclass
class Done:
    """A finished run, in a copy that the test may spoil."""

    root: Path

    @property
    def photos(self) -> Path:
        return self.root / "photos"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def state(self) -> Path:
        return self.root / "out.state"

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.out / "manifest.json").read_text(encoding="utf-8"))

    @property
    def outputs(self) -> dict[str, str]:
        return {image["source"]: image["output"] for image in self.manifest["images"]}

    @property
    def counts(self) -> dict[str, int]:
        """Of the last extension, those that are not zero."""
        last = self.manifest["extended"][-1]
        return {kind: n for kind, n in last.items() if kind != "tool" and n}

    def extend(self, *words: object) -> Result:
        """Extend with the words that a user would type, and no flag of the run."""
        return cli("run", self.photos, "-o", self.out, "--extend", *words)

    def bytes(self) -> dict[str, bytes]:
        """Return every file, published and private, and of the source."""
        return {name: (self.root / name).read_bytes() for name in tree(self.root)}

    def require_intact(self) -> None:
        result = cli("check", self.out)
        assert result.exit_code == 0, result.stdout
        assert f"{len(self.manifest['images'])} " in result.stdout
        published = {name for name in tree(self.out) if name.endswith(".png")}
        assert published == set(self.outputs.values())


def move(run: Path, to: Path) -> Done:
    for name in ("photos", "out", "out.state"):
        shutil.copytree(run / name, to / name)
    record = to / "out.state/run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"source": str(to / "photos")}))
    return Done(to)


def add(done: Done, name: str = "a/new.png", seed: int = 99) -> None:
    put(done.photos, name, encoded(picture("RGB", (16, 16), seed), "PNG"))


def take_away(done: Done, name: str) -> None:
    (done.photos / name).unlink()


def relabel(done: Done, name: str, to: str) -> None:
    (done.photos / name).rename(done.photos / to)


def spoil(done: Done, name: str) -> None:
    path = done.out / name
    path.write_bytes(path.read_bytes()[:-20])


def edit_manifest(done: Done, **changes: object) -> None:
    (done.out / "manifest.json").write_text(json.dumps(done.manifest | changes))
