"""A page that holds everything it shows: text, drawings and live figures in one file, readable by day and by night.

Nothing is fetched from anywhere, so the page can be mailed, archived and opened without a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from ifog.topology import Schedule
from ifog.topology.draw import svg

# Okabe and Ito's colours, told apart by colour-blind readers and visible on white and on black alike
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
GREY = "#7d828c"
FAINT = "rgba(128, 128, 128, 0.22)"
CLEAR = "rgba(0, 0, 0, 0)"
FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_AXIS = {
    "gridcolor": FAINT,
    "linecolor": FAINT,
    "zeroline": False,
    "title": {"standoff": 10},
    "exponentformat": "power",
    "tickfont": {"size": 12},
}
STYLE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 14, "color": GREY},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 70, "r": 16, "t": 60, "b": 60},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
        "hoverlabel": {"font": {"family": FONT, "size": 13}},
    }
)
"""How every figure looks: no background of its own, so that it takes the page's."""


def buttons(choices: Iterable[Mapping[str, object]], *, x: float = 0) -> dict[str, object]:
    """A row of buttons above a figure, each changing what it shows."""
    return {
        "type": "buttons",
        "direction": "right",
        "buttons": list(choices),
        "showactive": True,
        "x": x,
        "xanchor": "left" if x < 0.5 else "right",
        "y": 1.02,
        "yanchor": "bottom",
        "pad": {"b": 6},
        "bgcolor": CLEAR,
        "bordercolor": FAINT,
    }


def page(title: str, lead: str, sections: Iterable[str], *, kicker: str = "ifog.topology") -> str:
    """The whole document."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>{_CSS}</style>
<script>{get_plotlyjs()}</script>
</head>
<body>
<main>
<header><p class="kicker">{escape(kicker)}</p><h1>{escape(title)}</h1><p class="lead">{lead}</p></header>
{"".join(sections)}
</main>
</body>
</html>
"""


def section(title: str, caption: str, body: str) -> str:
    """A part of the page: what it is called, what to see and try, and the thing itself."""
    return f'<section><h2>{escape(title)}</h2><p class="caption">{caption}</p>{body}</section>\n'


def live(figure: go.Figure, name: str) -> str:
    """A figure that answers to the mouse; it needs the plotly.js that `page` carries."""
    config = {"displaylogo": False, "responsive": True, "displayModeBar": False}
    drawn = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config, default_width="100%")
    return f'<div class="figure">{drawn}</div>'


def gallery(schedules: Iterable[Schedule]) -> str:
    """The topologies' own drawings, side by side: first those that stay the same, then those that change every round."""
    schedules = list(schedules)
    static = "".join(_card(schedule) for schedule in schedules if schedule.static)
    changing = "".join(_card(schedule) for schedule in schedules if not schedule.static)
    return (
        f'<h3>The same graph in every round</h3><div class="gallery">{static}</div>'
        f'<h3>Another graph in every round</h3><div class="gallery wide">{changing}</div>'
    )


def _card(schedule: Schedule) -> str:
    exact = schedule.rounds_to_exact
    speed = f"exact after {exact} round{'s' * (exact != 1)}" if exact is not None else f"rate {schedule.consensus_rate:.3f}"
    name = schedule.name.replace("_", "_<wbr>")
    return (
        f'<figure class="card" title="{escape(schedule.label)}">{svg(schedule, size=180)}'
        f"<figcaption><code>{name}</code><span>degree {schedule.degree}</span><span>{speed}</span></figcaption></figure>"
    )


# The figures' words and buttons follow the page's colours; plotly would write fixed ones into every element.
_CSS = (
    """
:root {
  --paper: #ffffff; --ink: #1d2129; --soft: #59606b; --line: #e3e5e9;
  --card: #f7f8fa; --chosen: #dbe9f4; --accent: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --ink: #e6e8ec; --soft: #a2a9b4; --line: #2c3139;
    --card: #1b1f26; --chosen: #263d52; --accent: #56b4e9;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 17px/1.6 """
    + FONT
    + """; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 28px 72px; }
h1 { font-size: clamp(28px, 4.2vw, 42px); line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 16px; }
.kicker { color: var(--accent); font-weight: 600; font-size: 15px; margin-bottom: 6px; }
h2 { font-size: 25px; line-height: 1.25; letter-spacing: -0.01em; margin: 0 0 6px; }
h3 { font-size: 15px; font-weight: 600; color: var(--soft); margin: 24px 0 10px; }
p { margin: 0; }
a { color: var(--accent); }
.lead { font-size: 19px; max-width: 54em; color: var(--soft); }
.lead b, .caption b { color: var(--ink); font-weight: 600; }
.caption { max-width: 60em; color: var(--soft); margin-bottom: 14px; }
section { margin-top: 48px; }
code { font: 0.88em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.figure { overflow-x: auto; }
.figure > div { min-width: 620px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(158px, 1fr)); gap: 14px; }
iframe.widget { width: 100%; height: 200px; border: 1px solid var(--line); border-radius: 10px; background: #fff; }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
.card { margin: 0; padding: 12px; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  display: flex; flex-direction: column; justify-content: space-between; }
.card svg { display: block; width: 100%; height: auto; margin: auto 0; }
.wide .card svg { max-height: 150px; }
.card figcaption { margin-top: 10px; line-height: 1.35; }
.card figcaption span { display: block; font-size: 13px; color: var(--soft); }
.wide figcaption { display: flex; align-items: baseline; flex-wrap: wrap; gap: 0 14px; }
.wide figcaption code { margin-right: auto; }
.js-plotly-plot .main-svg > g:not(.hoverlayer) text { fill: var(--ink) !important; }
.js-plotly-plot .updatemenu-item-rect { fill: var(--card) !important; }
.js-plotly-plot .updatemenu-item-rect[style*="244, 250, 255"] { fill: var(--chosen) !important; }
"""
)
