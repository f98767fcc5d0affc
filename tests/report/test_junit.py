"""A verification as JUnit XML, read back by the reader that CI tools use."""

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped
from reports import HOSTILE, hostile_report, make_cell, make_report

from protect.report.junit import junit_xml


@pytest.fixture
def read_back(tmp_path):
    def read(report):
        path = tmp_path / "junit.xml"
        path.write_text(junit_xml(report), encoding="utf-8")
        (suite,) = JUnitXml.fromfile(str(path))
        return suite

    return read


def test_a_case_per_cell_with_its_time(read_back):
    suite = read_back(make_report())
    first, second, *_ = suite
    assert first.name == "torchvision:vit_b_16 / full / none"
    assert second.name == "torchvision:vit_b_16 / full / jpeg10"
    assert first.time == pytest.approx(83.4)
    assert suite.time == pytest.approx(4 * 83.4)


def test_the_stated_counts_are_those_of_the_cases(read_back):
    suite = read_back(make_report())
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 1, 2, 2)
    kinds = [type(result) for case in suite for result in case.result]
    assert [kinds.count(kind) for kind in (Failure, Error, Skipped)] == [1, 2, 2]


@pytest.mark.parametrize(
    ("verdict", "kind"), [("pass", None), ("fail", Failure), ("inconclusive", Error)]
)
def test_only_a_pass_is_green(read_back, verdict, kind):
    report = make_report([make_cell(verdict=verdict, reason="because")], not_run=())
    (case,) = read_back(report)
    assert [type(result) for result in case.result] == ([kind] if kind else [])
    assert case.is_passed is (verdict == "pass")
    assert [result.message for result in case.result] == (["because"] if kind else [])


def test_what_was_not_run_is_skipped_by_name(read_back):
    report = make_report()
    skipped = [case.name for case in read_back(report) if case.is_skipped]
    assert skipped == list(report.not_run)


def test_the_figures_and_the_threshold_travel_along(read_back):
    suite = read_back(make_report())
    properties = {item.name: item.value for item in suite.properties()}
    assert properties["max_retained"] == "0.3"
    assert properties["every_class"] == "false"
    assert properties["tier"] == "ci"
    assert "within the promised 8" in properties["budget"]
    passed = next(iter(suite))
    assert "peak 16.1%" in passed.system_out
    assert "seeds 0, 1, 2" in passed.system_out


def test_hostile_names_stay_names(read_back):
    report = hostile_report()
    suite = read_back(report)
    assert len(list(suite)) == 3
    name = next(iter(suite)).name
    assert name.startswith("a|b`c`<script>alert(1)</script>\"'&\\n\\r\\t\\x00\\x1b[31m\\u202egnp")
    assert name.count(r"\udc80</td>") == 3
    assert HOSTILE not in junit_xml(report)
