"""What a stranger's file may make this program do: nothing but refuse it."""

import ast
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cases.gallery import SECRET, put, tree, write
from cases.ran import Ran, run
from helpers import cli
from pictures import encoded, picture

import protect

MODULES = sorted(Path(protect.__file__).parent.rglob("*.py"))
FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "marshal.loads",
    "shelve.open", "os.system", "os.popen", "subprocess.run", "subprocess.Popen", "yaml.load",
    "joblib.load", "dill.load",
}  # fmt: skip
BETWEEN_OWN_PROCESSES = {"workers": {"subprocess.Popen", "pickle.load", "pickle.loads"}}
"""It starts this program again; what is unpickled went through pipes between the two of them."""
HOSTILE = ["\x1b[2Jx", "\x9b31m", "a\rb", "a\nb", "\u202egnp", "\x07bell", "\x1b]0;t\x07"]


def calls(module: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def flag(call: ast.Call, name: str) -> object:
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    return ast.literal_eval(values[name]) if name in values else None


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_code_comes_from_data(module: Path):
    for name, call in calls(module):
        own = name in BETWEEN_OWN_PROCESSES.get(module.stem, ())
        assert own or name not in FORBIDDEN, f"{module}: {name}"
        if name == "subprocess.Popen":
            assert ast.unparse(call.args[0]).startswith("[sys.executable, '-c', _START")
        if name == "torch.load":
            assert flag(call, "weights_only") is True
        if name.endswith(("np.load", "numpy.load")):
            assert flag(call, "allow_pickle") is not True


def test_the_search_for_code_from_data_sees_what_it_looks_for():
    found = {name for module in MODULES for name, _ in calls(module)}
    assert {"torch.load", "load_file", "json.loads"} <= found


@pytest.fixture(scope="module")
def _one_run(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    root = tmp_path_factory.mktemp("run")
    photos = write(root / "photos", "a/0.png", "a/1.png", "b/0.png", "b/1.png")
    return run(photos, root / "out")


@pytest.fixture
def ran(_one_run: Ran, tmp_path: Path) -> Ran:
    """A finished run, in a copy that the test may spoil."""
    for name in ("photos", "out", "out.state"):
        shutil.copytree(_one_run.out.parent / name, tmp_path / name)
    return Ran(tmp_path / "photos", tmp_path / "out", _one_run.result)


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd", "a/../../outside.png"])
@pytest.mark.parametrize("field", ["output", "source"])
def test_paths_of_a_manifest_cannot_leave_the_folder(ran: Ran, name: str, field: str):
    put(ran.out.parent, "outside.png", (ran.out / "a/0.png").read_bytes())
    ran.manifest["images"][0][field] = name
    (ran.out / "manifest.json").write_text(json.dumps(ran.manifest))
    result = cli("check", ran.out, "--json")
    assert result.exit_code == 1
    kind = "missing" if field == "output" else "original"
    problems = json.loads(result.stdout)["problems"]
    assert (name, kind) in {(problem["file"], problem["kind"]) for problem in problems}
    # Nor does replacing the run remove what lies there.
    assert run(ran.photos, ran.out, "--overwrite").result.exit_code == 0
    assert (ran.out.parent / "outside.png").exists()


@pytest.mark.parametrize("name", ["../labels.csv", "/etc/labels.csv"])
def test_the_label_table_of_a_manifest_cannot_lie_elsewhere(ran: Ran, name: str):
    rows = "".join(f"{image['output']},{image['label']}\n" for image in ran.manifest["images"])
    put(ran.out.parent, "labels.csv", f"file_name,label\n{rows}".encode())
    ran.manifest["labels"] = {"kind": "csv", "file": name, "column": "label"}
    (ran.out / "manifest.json").write_text(json.dumps(ran.manifest))
    result = cli("check", ran.out)
    assert result.exit_code == 1
    assert "the label table's path leaves the folder" in result.stdout


@pytest.mark.parametrize("link", ["a", "a/0.png"])
def test_links_in_the_output_are_not_followed_on_writing(ran: Ran, link: str):
    elsewhere = ran.out.parent / "elsewhere"
    put(elsewhere, "0.png", b"mine")
    (ran.out / "a/0.png").unlink()
    (ran.out / "a/1.png").unlink()
    if link == "a":
        (ran.out / "a").rmdir()
    (ran.out / link).symlink_to(elsewhere if link == "a" else elsewhere / "0.png")
    for flags in ("--resume", "--overwrite"):
        again = run(ran.photos, ran.out, flags)
        assert (elsewhere / "0.png").read_bytes() == b"mine"
        assert tree(elsewhere) == ["0.png"]
        if link == "a":
            assert again.result.exit_code == 2
            assert "leads out of the output folder through a link" in again.result.stderr
        else:
            assert again.result.exit_code == 0
            assert not (ran.out / link).is_symlink()


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_names_cannot_write_to_the_terminal(tmp_path: Path, name: str):
    """Neither those of pictures nor those of classes, in notes, errors, progress or results."""
    photos = write(tmp_path / "photos", f"{name}/1.png", "b/1.png", f"b/{name}.png")
    put(photos, f"b/{name}-bad.png", b"")
    (photos / f"b/{name}-gone.png").symlink_to("nowhere")
    put(photos, f"{name}/copy.png", encoded(picture("RGB", (16, 16), seed=1), "PNG"))
    stopped = run(photos, tmp_path / "out")
    assert stopped.result.exit_code == 2
    skipped = run(photos, tmp_path / "out", "--on-error", "skip")
    assert skipped.result.exit_code == 1
    extra = skipped.out / f"b/{name}-extra.png"
    extra.write_bytes(b"")
    checked = cli("check", skipped.out)
    assert checked.exit_code == 1
    for result in (stopped.result, skipped.result, checked):
        said = result.stdout + result.stderr
        assert all(char.isprintable() or char == "\n" for char in said)
        assert name not in said
    assert name.encode("unicode_escape").decode() in stopped.result.stderr
    assert name.encode("unicode_escape").decode() in checked.stdout


def test_nothing_published_tells_of_the_machine_or_the_camera(good: Ran):
    """Of a run over every kind of picture: no path, no user, no metadata."""
    for name in tree(good.out):
        data = (good.out / name).read_bytes()
        assert SECRET not in data
        assert str(good.photos.parent).encode() not in data
        chunks = set(re.findall(rb"(tEXt|zTXt|iTXt|eXIf|tIME)", data[:4096]))
        assert not chunks
