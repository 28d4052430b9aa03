"""What a browser would fetch for a page."""

from html.parser import HTMLParser


class Loads(HTMLParser):
    """Collects it of a page, with what else there is to see; the text of scripts is not markup to it."""

    def __init__(self, page):
        super().__init__()
        self.addresses, self.identifiers, self.frames, self.styles = [], [], [], ""
        self.in_style = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.in_style = tag == "style"
        values = dict(attrs)
        self.identifiers.append(values.get("id"))
        if tag != "a":
            self.addresses += [values[name] for name in ("src", "href", "data", "action") if values.get(name)]
        self.frames += [values["srcdoc"]] if "srcdoc" in values else []
        self.styles += values.get("style") or ""

    def handle_data(self, data):
        if self.in_style:
            self.styles += data

    def handle_endtag(self, tag):
        self.in_style = self.in_style and tag != "style"
