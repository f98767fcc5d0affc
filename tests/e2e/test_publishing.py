"""What an owner publishes: a folder without its manifest, pictures that state their rights."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers import FAST, TINY, cli, write_colours
from kill_events import run_until
from pictures import picture
from PIL import Image

from protect import RunConfig, protect_folder
from protect.config.choices import Existing

PLUS = "{http://ns.useplus.org/ldf/xmp/1.0/}"
TERMS = "http://ns.useplus.org/ldf/vocab/"


def contents(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def apart(done: SimpleNamespace) -> SimpleNamespace:
    """The finished run, with its manifest moved out of the folder by the tool itself."""
    mapping = done.root / "private" / "mapping.json"
    result = cli("run", done.photos, "-o", done.protected, *FAST, "--resume", "--manifest", mapping)
    assert result.exit_code == 0, result.stderr
    return SimpleNamespace(**vars(done), mapping=mapping)


def test_the_published_folder_holds_no_manifest_and_the_owner_needs_no_flag(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=4)
    out, mapping = tmp_path / "protected", tmp_path / "private" / "mapping.json"
    result = cli("run", photos, "-o", out, *TINY, "--manifest", mapping, "--json")
    assert result.exit_code == 0, result.stderr
    assert contents(out) == contents(photos)
    text = mapping.read_text()
    assert json.loads(text) == json.loads(result.stdout)
    assert str(tmp_path) not in text
    assert "mapping" not in json.loads(text)["config"]

    for flags in ((), ("--manifest", mapping)):
        check = cli("check", out, *flags, "--json", "-q")
        assert check.exit_code == 0, check.output
        assert json.loads(check.stdout)["measured_levels"] is not None
    verified = cli("verify", out, "--mode", "linear-probe", "--epochs", "1", "--json", "-q")
    assert verified.exit_code in (0, 1), verified.stderr
    report = json.loads(verified.stdout)
    assert report["quality"]["promised_levels"] == 8
    assert not report["notes"]

    # The folder as a stranger has it, and as the owner has it on another machine.
    published = tmp_path / "elsewhere" / "protected"
    shutil.copytree(out, published)
    for command in ("check", "verify"):
        refused = cli(command, published)
        assert refused.exit_code == 2
        assert "manifest.json does not exist" in refused.stderr
        assert "--manifest" in refused.stderr
    flags = ("--manifest", mapping)
    assert cli("check", published, *flags, "--source", photos).exit_code == 0
    named = ("--clean", photos, "--mode", "linear-probe", "--epochs", "1", "--json", "-q")
    again = cli("verify", published, *flags, *named)
    assert again.exit_code == verified.exit_code, again.stderr
    assert json.loads(again.stdout)["cells"][0]["peak"] == report["cells"][0]["peak"]


def test_a_manifest_that_is_kept_apart_still_finds_a_changed_picture(apart):
    (apart.protected / "red" / "0.png").write_bytes((apart.photos / "red" / "0.png").read_bytes())
    report = json.loads(cli("check", apart.protected, "--json", "-q").stdout)
    assert {(p["kind"], p["file"]) for p in report["problems"]} >= {("changed", "red/0.png")}
    edited = json.loads(apart.mapping.read_text()) | {"classes": {"red": 0, "blue": 1}}
    apart.mapping.write_text(json.dumps(edited))
    report = json.loads(cli("check", apart.protected, "--json", "-q").stdout)
    assert ("label", "mapping.json") in {(p["kind"], p["file"]) for p in report["problems"]}


def test_the_manifest_follows_the_flag_and_is_never_left_in_two_places(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=2)
    out = tmp_path / "out"
    beside, one, two = out / "manifest.json", tmp_path / "one.json", tmp_path / "two.json"
    for flags, place in (
        ((), beside),
        (("--resume", "--manifest", one), one),
        (("--resume",), one),
        (("--resume", "--manifest", two), two),
        (("--overwrite", "--manifest", one), one),
        (("--overwrite", "--manifest", one), one),
        (("--overwrite", "--manifest", two), two),
        (("--overwrite",), beside),
    ):
        result = cli("run", photos, "-o", out, *TINY, *flags)
        assert result.exit_code == 0, result.stderr
        assert [path for path in (beside, one, two) if path.exists()] == [place]
        assert cli("check", out).exit_code == 0


@pytest.mark.parametrize("stage", ["Optimising", "Writing"])
def test_a_killed_run_may_go_on_with_another_place_for_its_manifest(tmp_path, stage):
    photos = write_colours(tmp_path / "photos", per_class=2)
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    killed = RunConfig(
        source=photos,
        output=tmp_path / "out",
        manifest=first,
        size=32,
        rounds=1,
        batch_size=4,
        preset="quick",
        device="cpu",
    )

    run_until(killed, stage, 0)
    verified = cli("verify", killed.output)
    assert verified.exit_code == 2
    assert "has not finished" in verified.stderr
    update = {"existing": Existing.RESUME, "manifest": second}
    manifest = protect_folder(killed.model_copy(update=update))
    assert len(manifest.images) == 4
    assert second.is_file()
    assert not first.exists()
    assert not (killed.output / "manifest.json").exists()
    assert cli("check", killed.output).exit_code == 0


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("protected/mapping.json", "lies inside"),
        ("protected/manifest.json", "lies inside"),
        ("protected", "lies inside"),
        ("photos/mapping.json", "lies inside"),
        ("photos/red/mapping.json", "lies inside"),
        ("protected.state/run.json", "lies inside"),
        ("notes.txt", "exists"),
        ("folder", "exists"),
        ("of-another-run.json", "exists"),
        ("link.json", "lies inside"),
    ],
)
@pytest.mark.parametrize("existing", ["--resume", "--overwrite"])
def test_a_manifest_is_never_written_among_pictures_or_over_another_file(
    done, place, words, existing
):
    (done.root / "notes.txt").write_text("mine")
    (done.root / "folder").mkdir()
    (done.root / "link.json").symlink_to(done.protected / "mapping.json")
    other = done.manifest | {
        "images": [image | {"output_sha256": "0"} for image in done.manifest["images"]]
    }
    (done.root / "of-another-run.json").write_text(json.dumps(other))
    before = {name: (done.root / name).read_bytes() for name in contents(done.root)}
    words_of_run = ("run", done.photos, "-o", done.protected, *FAST, existing)
    result = cli(*words_of_run, "--manifest", done.root / place)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert place in result.stderr
    assert {name: (done.root / name).read_bytes() for name in contents(done.root)} == before


def test_an_extension_a_dry_run_and_a_preview_find_the_manifest(apart):
    sheet = apart.root / "sheet.png"
    assert cli("preview", apart.protected, "-o", sheet).exit_code == 0
    assert cli("preview", apart.protected, "-o", sheet, "--manifest", apart.mapping).exit_code == 0
    missing = cli("preview", apart.protected, "-o", sheet, "--manifest", apart.root / "none.json")
    assert missing.exit_code == 2
    assert "is no file" in missing.stderr

    (apart.photos / "red" / "new.png").write_bytes((apart.photos / "red" / "0.png").read_bytes())
    words = ("run", apart.photos, "-o", apart.protected)
    other = cli(*words, "--extend", "--manifest", apart.root / "other.json")
    assert other.exit_code == 2
    assert "leaves the manifest where it is" in other.stderr
    for flags in ((), ("--manifest", apart.mapping)):
        extended = cli(*words, "--extend", *flags)
        assert extended.exit_code == 0, extended.stderr
        images = json.loads(apart.mapping.read_text())["images"]
        assert "red/new.png" in {image["output"] for image in images}
        assert not (apart.protected / "manifest.json").exists()
        assert cli("check", apart.protected).exit_code == 0

    place = apart.photos / "mapping.json"
    dry = cli("run", apart.photos, "-o", apart.root / "x", "--dry-run", "--manifest", place)
    assert dry.exit_code == 2
    assert "lies inside" in dry.stderr


def test_a_folder_whose_manifest_is_kept_apart_is_not_protected_twice(apart):
    for source in (apart.protected, apart.protected / "red"):
        result = cli("run", source, "-o", apart.root / "again", *FAST)
        assert result.exit_code == 2
        assert "protecting it twice" in result.stderr


def test_a_manifest_that_was_moved_is_asked_for(apart):
    moved = apart.mapping.rename(apart.root / "moved.json")
    for command in ("check", "verify"):
        result = cli(command, apart.protected)
        assert result.exit_code == 2
        assert "mapping.json does not exist" in result.stderr
        assert "--manifest" in result.stderr
    assert cli("check", apart.protected, "--manifest", moved).exit_code == 0
    moved.rename(apart.protected / "manifest.json")
    assert cli("check", apart.protected).exit_code == 0


@pytest.mark.parametrize("command", ["check", "verify"])
@pytest.mark.parametrize(
    ("content", "words"), [(None, "is no file"), ("{}", "not a manifest"), ("{", "cannot be read")]
)
def test_a_named_manifest_that_is_none_is_an_error(done, command, content, words):
    named = done.root / "named.json"
    if content is not None:
        named.write_text(content)
    clean = ("--clean", done.photos) if command == "verify" else ()
    result = cli(command, done.protected, "--manifest", named, *clean)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "named.json" in result.stderr


@pytest.mark.parametrize("flag", ["--report", "--junit"])
def test_a_report_does_not_replace_the_manifest(apart, flag):
    before = apart.mapping.read_bytes()
    result = cli("verify", apart.protected, flag, apart.mapping)
    assert result.exit_code == 2
    assert "is the manifest" in result.stderr
    assert apart.mapping.read_bytes() == before


def test_every_picture_states_what_the_owner_said_and_shows_the_same_pixels(tmp_path):
    photos = write_colours(tmp_path / "photos", per_class=2)
    picture("LA", (40, 30)).save(photos / "red" / "grey.png")
    plain, stated = tmp_path / "plain", tmp_path / "stated"
    for folder, flags in ((plain, ()), (stated, ("--rights", "noai"))):
        result = cli("run", photos, "-o", folder, *TINY, *flags)
        assert result.exit_code == 0, result.stderr
    assert contents(stated) == contents(plain)
    for name in contents(stated) - {"manifest.json"}:
        with Image.open(stated / name) as after, Image.open(plain / name) as before:
            assert np.array_equal(np.asarray(after), np.asarray(before))
            assert after.mode == before.mode
            assert "xmp" not in before.info
            assert not after.getexif()
            assert after.info.keys() - before.info.keys() <= {"xmp", "XML:com.adobe.xmp"}
            packet = ElementTree.fromstring(after.info["xmp"])
        stated_there = [item for item in packet.iter() if item.tag == f"{PLUS}DataMining"]
        assert [item.text for item in stated_there] == [f"{TERMS}DMI-PROHIBITED-AIMLTRAINING"]

    for folder, value in ((plain, None), (stated, "noai")):
        manifest = json.loads((folder / "manifest.json").read_text())
        assert manifest["config"]["rights"] == value
    mixed = cli("run", photos, "-o", stated, *TINY, "--resume", "--rights", "nomining")
    assert mixed.exit_code == 2
    assert "rights: was 'noai', is 'nomining'" in mixed.stderr

    assert cli("check", stated).exit_code == 0
    bare = Image.open(stated / "blue" / "1.png").copy()
    bare.info.clear()
    bare.save(stated / "blue" / "1.png")
    found = json.loads(cli("check", stated, "--json", "-q").stdout)["problems"]
    assert [(p["kind"], p["file"]) for p in found] == [("changed", "blue/1.png")]
