"""The example action: its own shell lines, run as GitHub would run them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "github-action"
ACTION = yaml.safe_load((FOLDER / "action.yml").read_text())
WORKFLOW = yaml.safe_load((FOLDER / "workflow.yml").read_text())


def script(name: str) -> tuple[str, dict[str, str]]:
    (step,) = [step for step in ACTION["runs"]["steps"] if step.get("name") == name]
    return step["run"], step.get("env", {})


TOOLS = Path(sys.executable).parent


def run(
    name: str, folder: Path, tools: Path = TOOLS, **inputs: str
) -> subprocess.CompletedProcess[str]:
    """Run a step of the action with its defaults, or other inputs."""
    line, env = script(name)
    values = {key: spec.get("default", "") for key, spec in ACTION["inputs"].items()} | inputs

    def fill(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], text)

    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    filled = {key: fill(value) for key, value in env.items()}
    return subprocess.run(
        ["bash", "-e", "-c", line],
        cwd=folder,
        env=os.environ | filled | {"PATH": path, "GITHUB_STEP_SUMMARY": str(folder / "summary.md")},
        capture_output=True,
        text=True,
    )


def test_it_protects_verifies_and_leaves_the_files_that_it_uploads(done):
    photos = {"photos": "photos", "output": "out", "preset": "quick"}
    # As typed in the action, but for the effort: a budget that is wrong stops the job at once.
    assert run("Protect", done.root, **photos, eps="8").returncode == 2
    result = run("Verify", done.root, output="protected", tier="quick")
    assert result.returncode in (0, 1), result.stderr
    (upload,) = [s for s in ACTION["runs"]["steps"] if s.get("name") == "Upload the results"]
    assert upload["if"] == "always()"
    for file in upload["with"]["path"].split():
        text = (done.root / file).read_text()
        assert len(text) > 500
        assert "data:image" not in text, "whoever sees a job's results need not see the originals"
    assert "| " in (done.root / "summary.md").read_text()


def test_what_the_workflow_publishes_has_no_manifest():
    """It tells which class was bound to which, and what the originals were called."""
    words = script("Protect")[0].split()
    manifest = Path(words[words.index("--manifest") + 1])
    (publish,) = [
        step
        for job in WORKFLOW["jobs"].values()
        for step in job["steps"]
        if step.get("name") == "Publish the protected pictures"
    ]
    assert manifest.parent == Path()
    assert publish["with"]["path"] == ACTION["inputs"]["output"]["default"]


@pytest.mark.parametrize(
    ("seed", "given"),
    [("", []), ("123", ["--seed", "123"]), ("1 --eps 9", ["--seed", "1 --eps 9"])],
)
def test_the_seed_of_a_secret_reaches_the_run_and_a_secret_that_is_not_there_is_none(
    tmp_path, seed, given
):
    spelled = tmp_path / "protect"
    spelled.write_text('#!/bin/sh\nfor word; do echo "$word"; done\n')
    spelled.chmod(0o755)
    result = run("Protect", tmp_path, tmp_path, photos="photos", seed=seed)
    words = result.stdout.splitlines()
    assert words[:2] == ["run", "photos"]
    assert [word for word in words if "seed" in word or word == seed] == given


def test_no_input_is_pasted_into_a_shell_line():
    """An input such as `$(rm -rf ~)` must stay text."""
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("job", list(WORKFLOW["jobs"]))
def test_the_workflow_publishes_only_after_the_action_and_may_write_nothing(job):
    steps = WORKFLOW["jobs"][job]["steps"]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    names = [step.get("name", step.get("uses")) for step in steps]
    assert names.index("./.github/actions/protect") < names.index("Publish the protected pictures")
    given = next(step["with"] for step in steps if step.get("uses", "").startswith("./"))
    required = {name for name, spec in ACTION["inputs"].items() if spec.get("required")}
    assert required <= set(given) <= set(ACTION["inputs"])
