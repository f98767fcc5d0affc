"""The documents: their committed schemas, and what readers refuse."""

import json
from pathlib import Path

import pytest

from protect.documents.backbone_list import BackboneList
from protect.documents.check_report import CheckReport, Problem
from protect.documents.dry_run import DryRun
from protect.documents.manifest import Manifest
from protect.documents.preview_report import PreviewReport
from protect.documents.shard_report import ShardReport
from protect.documents.verify_report import VerifyReport
from protect.errors import InputError

SCHEMAS = Path(__file__).parents[2] / "protect" / "schemas"
DOCUMENTS = {
    "manifest": Manifest,
    "verify-report": VerifyReport,
    "check-report": CheckReport,
    "backbone-list": BackboneList,
    "dry-run": DryRun,
    "preview-report": PreviewReport,
    "shard-report": ShardReport,
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_committed_schema_is_that_of_the_code(name):
    """To renew one: print(json.dumps(Manifest.model_json_schema(), indent=1)) into its file."""
    committed = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    assert committed == DOCUMENTS[name].model_json_schema()


def test_a_document_survives_writing_and_reading(tmp_path):
    report = CheckReport(
        ok=False,
        n_images=1,
        budget_levels=8,
        measured_levels=None,
        problems=(Problem(file="猫/é.png", kind="missing", message="gone"),),
    )
    assert CheckReport.model_validate_json(report.model_dump_json()) == report


def test_unknown_fields_and_newer_versions_are_refused(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text('{"schema_version": 2}')
    with pytest.raises(InputError, match="schema version 2"):
        Manifest.read(path)
    path.write_text('{"schema_version": 1, "surprise": 1}')
    with pytest.raises(InputError, match="not a manifest"):
        Manifest.read(path)
