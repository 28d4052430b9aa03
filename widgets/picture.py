"""What a widget shows as a picture: an SVG, the same as a PNG, or a page of its own. Nothing is fetched for it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from . import theme

ZOOM = 2
"""Pixels of a PNG per unit of its SVG: sharp on a good screen and in print."""
_FONTS = [str(Path(__file__).parent / "fonts" / f"Inter-{weight}.otf") for weight in ("Regular", "SemiBold")]


def svg(width: float, height: float, label: str, body: str, *, size: int = 13) -> str:
    """A drawing on white, with dark letters: readable on whatever page it is put."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(label)}" font-family="{escape(theme.FONT)}" font-size="{size}" fill="{theme.INK}">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{body}</svg>'
    )


def below(label: str, *drawings: str) -> str:
    """Drawings of `svg`, one below the other."""
    sizes = [size(each) for each in drawings]
    tops = [sum(height for _, height in sizes[:k]) for k in range(len(sizes))]
    body = "".join(f'<g transform="translate(0 {top:g})">{each}</g>' for top, each in zip(tops, drawings, strict=True))
    return svg(max(wide for wide, _ in sizes), sum(height for _, height in sizes), label, body)


def png(drawing: str) -> bytes:
    """An SVG as a PNG file, the same on every machine: its letters come with ifog."""
    import resvg_py  # here, because only who needs a PNG pays for it

    made: bytes = resvg_py.svg_to_bytes(
        svg_string=drawing, zoom=ZOOM, skip_system_fonts=True, font_files=_FONTS, font_family="Inter", sans_serif_family="Inter"
    )
    return made


def size(drawing: str) -> tuple[float, float]:
    """How wide and how tall an SVG of ours is."""
    wide, tall = re.findall(r'(?:width|height)="([\d.]+)"', drawing)[:2]
    return float(wide), float(tall)


def inside(drawing: str, x: float, y: float, width: float, height: float) -> str:
    """An SVG as a part of another one, with names of its own."""
    source = f"data:image/svg+xml;base64,{_coded(drawing.encode())}"
    return f'<image x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" href="{source}"/>'


def width(image: bytes) -> int:
    """How wide a PNG of ours is to be shown: its header says how many pixels it has."""
    return int.from_bytes(image[16:20]) // ZOOM


def page(label: str, drawing: str) -> str:
    """A page that holds a drawing."""
    return _page(label, drawing)


def living_page(
    label: str,
    drawing: str,
    *,
    esm: str,
    css: str,
    start: Sequence[tuple[dict[str, Any], list[bytes]]],
    presentation: bool,
) -> str:
    """A page on which a widget lives without Python: what its page was told is in it, and nobody answers."""
    said = [{"content": content, "buffers": [_coded(buffer) for buffer in buffers]} for content, buffers in start]
    image = f'<noscript><img alt="{escape(label)}" src="data:image/svg+xml;base64,{_coded(drawing.encode())}"></noscript>'
    data = json.dumps({"_start": said, "presentation": presentation}).replace("</", "<\\/")
    module = f"data:text/javascript;base64,{_coded(esm.encode())}"
    return _page(
        label,
        f'<style>{css}</style><div id="widget"></div>{image}<script type="application/json" id="traits">{data}</script>'
        f'<script type="module">import widget from "{module}";{_ALONE}</script>',
    )


_ALONE = """
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
const traits = JSON.parse(document.getElementById("traits").textContent);
for (const message of traits._start) message.buffers = message.buffers.map(bytes);
const nothing = () => undefined;
const model = { get: (name) => traits[name], on: nothing, off: nothing, send: nothing };
widget.initialize({ model });
widget.render({ model, el: document.getElementById("widget") });
"""


def _page(label: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(label)}</title><style>body{{margin:16px;max-width:1100px}}</style>{body}</html>\n"
    )


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode()
