"""The tiles of a cluster as a still picture, in SVG: for saved notebooks, pages and print."""

from __future__ import annotations

from html import escape

from . import messages, picture, theme

_WIDTH, _TILE, _HEIGHT, _GAP, _HEAD = 660, 158, 92, 8, 34
_MOST = 64  # tiles; of more only the first are drawn
_LETTERS = 21  # that fit into a tile
COLOURS = {
    "idle": theme.GREY,
    "busy": "#0072B2",
    "waiting": "#E69F00",
    "no answer": "#CC79A7",
    "frozen": "#56B4E9",
    "gone": "#D55E00",
}


def figure(seen: messages.Tiles) -> str:
    """A tile for each engine, and above them how the cluster is."""
    tiles = seen.tiles[:_MOST]
    lines = [
        line for line in (seen.trouble, seen.said, "" if len(tiles) == seen.n else f"… {seen.n - len(tiles)} more") if line
    ]
    columns = (_WIDTH + _GAP) // (_TILE + _GAP)
    head = _HEAD + 18 * len(lines)
    height = head + -(-len(tiles) // columns) * (_HEIGHT + _GAP)
    parts = [
        f'<text x="2" y="18"><tspan font-size="14" font-weight="600">{escape(seen.name)}</tspan> '
        f"{escape(f'{seen.phase} · {seen.facts}')}</text>",
    ]
    for k, line in enumerate(lines):
        colour = f' fill="{COLOURS["gone"]}"' if line == seen.trouble else ""
        parts.append(f'<text x="2" y="{38 + 18 * k}"{colour}>{escape(line[:110])}</text>')
    for k, tile in enumerate(tiles):
        row, column = divmod(k, columns)
        parts.append(_tile(tile, column * (_TILE + _GAP) + 1, head + row * (_HEIGHT + _GAP)))
    return picture.svg(_WIDTH, height, f"cluster {seen.name}: {seen.phase}", "".join(parts), size=12)


def _tile(tile: messages.Tile, x: int, y: int) -> str:
    colour = COLOURS.get(tile["state"], theme.GREY)
    dashed = ' stroke-dasharray="4 3"' if tile["state"] in ("off", "starting") else ""
    words = [f"{tile['memory'] / 1e6:.0f} MB" if tile["memory"] else "", doing(tile), tile["error"]]
    if tile["gpu"]:
        words[0] += f" · GPU {tile['gpu']}"
    text = "".join(
        f'<text x="{x + 10}" y="{y + 42 + 18 * k}"{_red(k)}>{escape(_cut(word))}</text>' for k, word in enumerate(words) if word
    )
    filled = "1" if tile["state"] in ("busy", "waiting", "frozen", "gone", "no answer") else "0"
    return (
        f'<rect x="{x}" y="{y}" width="{_TILE - 2}" height="{_HEIGHT - 2}" rx="6" fill="none" stroke="{colour}"{dashed}/>'
        f'<rect x="{x}" y="{y}" width="5" height="{_HEIGHT - 2}" rx="2" fill="{colour}" fill-opacity="{filled}"/>'
        f'<text x="{x + 10}" y="{y + 22}"><tspan font-weight="600">rank {tile["rank"]}</tspan> {escape(tile["state"])}</text>'
        + text
    )


def doing(tile: messages.Tile) -> str:
    """What the engine is in, in a few words."""
    if tile["operation"]:
        return f"for rank {tile['waits_for']}: {tile['operation']}"
    return f"{tile['seconds']:.0f} s: {tile['cell']}" if tile["cell"] else ""


def _red(k: int) -> str:
    return f' fill="{COLOURS["gone"]}"' if k == 2 else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
