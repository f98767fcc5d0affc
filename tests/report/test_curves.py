"""Where accuracy curves lie in their drawing."""

import pytest
from reports import make_cell

from protect.documents.verify_report import Curve
from protect.report.curves import BOTTOM, LEFT, LINE_HEIGHT, RIGHT, TOP, draw_curves


def points(line) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in line.points.split()]


def test_epochs_run_from_left_to_right_and_accuracy_upwards():
    drawing = draw_curves(make_cell(curves=(Curve(protected=(0.0, 0.5, 1.0), control=(1.0,) * 3),)))
    middle = (LEFT + RIGHT) / 2
    expected = [(LEFT, BOTTOM), (middle, (TOP + BOTTOM) / 2), (RIGHT, TOP)]
    assert points(drawing.protected[0]) == expected
    assert {y for _, y in points(drawing.control[0])} == {TOP}
    assert drawing.epochs == 3
    assert [y for _, y in drawing.ticks] == [BOTTOM, (TOP + BOTTOM) / 2, TOP]


def test_every_seed_is_drawn():
    drawing = draw_curves(make_cell())
    assert len(drawing.protected) == len(drawing.control) == 3
    assert len({line.points for line in drawing.protected}) == 3


def test_a_single_epoch_is_a_point_beside_its_name():
    drawing = draw_curves(make_cell(curves=(Curve(protected=(0.2,), control=(0.8,)),)))
    assert points(drawing.protected[0]) == [(RIGHT, drawing.protected[0].y)]


def test_no_curves_are_no_lines():
    drawing = draw_curves(make_cell(curves=()))
    assert (drawing.protected, drawing.control, drawing.epochs) == ((), (), 0)


@pytest.mark.parametrize(
    ("protected", "control"),
    [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.5, 0.52), (0.52, 0.5), (0.1, 0.9), (0.0, 0.01)],
)
def test_names_of_lines_never_overlap_or_leave_the_plot(protected, control):
    drawing = draw_curves(make_cell(final=protected, control_final=control))
    a, b = drawing.protected_label, drawing.control_label
    assert abs(a - b) >= LINE_HEIGHT - 1e-9
    assert min(a, b) >= TOP
    assert max(a, b) <= BOTTOM + 1e-9
    if protected != control:
        assert (a < b) is (protected > control)


def test_the_description_says_what_a_sighted_reader_sees():
    words = draw_curves(make_cell(verdict="fail")).description
    for figure in ("3 epochs", "0, 1, 2", "86.1%", "87.3%", "71.3%", "73.3%", "10.3%"):
        assert figure in words
