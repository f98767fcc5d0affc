"""A verification as JUnit XML, for the test panels of CI systems."""

import xml.etree.ElementTree as ET
from collections import Counter

from protect.documents.verify_report import Cell, VerifyReport
from protect.report.words import (
    budget_line,
    cell_name,
    classes_line,
    headline,
    outcome,
    percent,
    quality_line,
    retained,
    visible,
)

_SUITE = "protect.verify"


def junit_xml(report: VerifyReport) -> str:
    """Write one test case per cell, and a skipped one for each thing that was not run.

    A failed cell is a `failure`. An inconclusive one is an `error`: the experiment broke, so it
    answers nothing, and CI systems turn red on errors as they do on failures.
    """
    counts = Counter(cell.verdict for cell in report.cells)
    totals = {
        "tests": str(len(report.cells) + len(report.not_run)),
        "failures": str(counts["fail"]),
        "errors": str(counts["inconclusive"]),
        "skipped": str(len(report.not_run)),
        "time": f"{sum(cell.seconds for cell in report.cells):.3f}",
    }
    root = ET.Element("testsuites", {"name": _SUITE, **totals})
    suite = ET.SubElement(root, "testsuite", {"name": _SUITE, **totals})
    properties = ET.SubElement(suite, "properties")
    for name, value in _facts(report).items():
        ET.SubElement(properties, "property", name=name, value=visible(value))
    for cell in report.cells:
        _add_cell(suite, cell)
    for item in report.not_run:
        case = ET.SubElement(
            suite, "testcase", classname=f"{_SUITE}.not_run", name=visible(item), time="0"
        )
        ET.SubElement(case, "skipped", message="not run by this verification")
    lines = [outcome(report), *(f"note: {note}" for note in report.notes)]
    ET.SubElement(suite, "system-out").text = "\n".join(map(visible, lines))
    return _document(root)


def empty_junit_xml() -> str:
    """Write a suite without test cases, for a shard that has none."""
    root = ET.Element("testsuites", {"name": _SUITE, "tests": "0"})
    ET.SubElement(root, "testsuite", {"name": _SUITE, "tests": "0"})
    return _document(root)


def _document(root: ET.Element) -> str:
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document.decode()


def _facts(report: VerifyReport) -> dict[str, str]:
    return {
        "verdict": headline(report),
        "tier": report.tier,
        "max_retained": f"{report.max_retained:g}",
        "every_class": str(report.every_class).lower(),
        "budget": budget_line(report.quality),
        "quality": quality_line(report.quality),
        "version": f"{report.environment.name} {report.environment.version}",
    }


def _add_cell(suite: ET.Element, cell: Cell) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_SUITE,
        name=visible(cell_name(cell)),
        time=f"{cell.seconds:.3f}",
    )
    reason = visible(cell.reason)
    if cell.verdict == "fail":
        ET.SubElement(case, "failure", message=reason, type="retained").text = reason
    elif cell.verdict == "inconclusive":
        ET.SubElement(case, "error", message=reason, type="inconclusive").text = reason
    ET.SubElement(case, "system-out").text = (
        f"retained {retained(cell)}; peak {percent(cell.peak)}, final {percent(cell.final)}, "
        f"control peak {percent(cell.control_peak)}, floor {percent(cell.floor)}; "
        f"seeds {', '.join(map(str, cell.seeds))}; of its classes: {visible(classes_line(cell))}"
    )
