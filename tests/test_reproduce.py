"""Every reproduction has, at a size that takes seconds, the order and the shape that its paper shows."""

import pytest

from benchmarks.reproduce.__main__ import EXPERIMENTS
from benchmarks.reproduce.report import Report, figure, main


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.filterwarnings("ignore::ifog.errors.TopologyWarning")
def test_the_claims_hold_at_a_small_size(name):
    report = EXPERIMENTS[name](True)
    assert report.name == name
    assert report.rows
    assert len(report.claims) >= 3
    assert not [f"{claim.text}: {claim.found}" for claim in report.claims if not claim.holds]
    assert figure(report).data


def test_a_claim_that_fails_ends_with_an_error_and_the_figure_needs_no_network(tmp_path, capsys):
    def experiment(quick):
        report = Report("made_up", "A title", "A paper, https://example.org", ("method", "error"))
        report.rows.append(("ours", 1.0))
        report.curve("ours", [0, 1], [2.0, 1.0])
        report.claim("it is zero", quick, "1.0")
        return report

    main({"made_up": experiment}, ["--quick", "--output", str(tmp_path)])
    assert "holds  it is zero: 1.0" in capsys.readouterr().out
    page = (tmp_path / "made_up.html").read_text(encoding="utf-8")
    assert "Plotly.newPlot" in page
    assert 'src="http' not in page
    with pytest.raises(SystemExit, match="1"):
        main({"made_up": experiment}, ["--output", str(tmp_path)])
    assert "FAILS  it is zero" in capsys.readouterr().out
