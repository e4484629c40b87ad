"""Lines over the cells of a sweep, and the curves of pods."""

from __future__ import annotations

import pytest

from canarycore import Check, CheckKind, Ladder, Rollout, TargetRef
from canarycore.errors import WrongValue
from canarycore.policy import Autoscaler, Pods, Scenario, Sweep, picture, sweep
from canarycore.policy.picture import draw, draw_sweep, save

POLICY = Rollout(
    name="shop",
    target=TargetRef(name="shop"),
    ladder=Ladder(step=10, top=50),
    checks=(Check(name="success", kind=CheckKind.SUCCESS_RATE, minimum=99.0),),
)


@pytest.fixture(scope="module")
def cells() -> Sweep:
    return sweep(POLICY, {"threshold": [1, 3]}, {"new.error_rate": [0.001, 0.01, 0.03]}, runs=50)


def test_a_line_has_the_figures_of_its_cells(cells: Sweep):
    (axes,) = draw_sweep(cells, "new.error_rate", "p_rollback", by="threshold").axes
    assert [line.get_label() for line in axes.lines] == ["threshold 1", "threshold 3"]
    for line, threshold in zip(axes.lines, (1, 3), strict=True):
        mine = [cell for cell in cells if cell.point["threshold"] == threshold]
        assert list(line.get_xdata()) == [0.001, 0.01, 0.03]
        assert list(line.get_ydata()) == [cell.evaluation.rolled_back.value for cell in mine]


def test_an_infinite_end_of_an_interval_draws_no_band(cells: Sweep, tmp_path):
    """50 runs do not bound a P99 from above."""
    figure = draw_sweep(cells, "new.error_rate", "p99_minutes", by="threshold", title="P99")
    save(figure, tmp_path / "sweep.png")
    assert figure.axes[0].get_ylim()[1] < 100


def test_an_object_is_a_name_on_the_axis():
    ladders = sweep(POLICY, {"ladder": [Ladder(step=10), Ladder(step=5)]}, runs=5)
    (axes,) = draw_sweep(ladders, "ladder", "p50_minutes").axes
    assert len(axes.lines[0].get_xdata()) == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("new.eror_rate", "p_rollback"), "across: found 'new.eror_rate'.*Did you mean 'new.error_rate'"),
        (("threshold", "p_rolback"), "column: found 'p_rolback'.*Did you mean 'p_rollback'"),
        (("threshold", "engine"), "column: found 'engine'"),
        (("threshold", "p_rollback"), "two cells at threshold 1.*one cell at each point"),
    ],
)
def test_a_line_that_the_cells_do_not_make_is_refused(cells: Sweep, arguments: tuple[str, str], text: str):
    with pytest.raises(WrongValue, match=text):
        draw_sweep(cells, *arguments)


def test_a_scenario_with_pods_adds_their_number_and_their_load(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(picture, "CURVE_RUNS", 3)
    monkeypatch.setattr(picture, "_FEW_RUNS", 3)
    pods = Pods(capacity=40.0, primary=4, canary=1, primary_scaler=Autoscaler(minimum=2, scale_down_delay=60.0))
    plain, limited = draw(POLICY, Scenario()), draw(POLICY, Scenario(pods=pods))
    *_, ready, load = limited.axes
    assert (len(plain.axes), len(limited.axes)) == (4, 6)
    lines = {line.get_label(): list(line.get_ydata()) for line in ready.lines}
    assert (max(lines["primary"]), min(lines["primary"]), max(lines["canary"])) == (4, 3, 1)
    assert load.lines[0].get_label() == "primary"
    assert load.lines[-1].get_label() == "capacity: requests above it are lost"
