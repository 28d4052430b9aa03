"""A real JupyterLab with a browser in front of it, for tests of what a person sees."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
ROOT = Path(__file__).parents[2]
PICTURES = Path(os.environ.get("IFOG_SCREENSHOTS", ROOT / "build" / "screenshots"))


def skip_without_a_browser():
    pytest.importorskip("playwright", reason="no playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("no chromium: apt-get install chromium")


@contextlib.contextmanager
def jupyter_lab(folder):
    """The address of a JupyterLab that serves a folder; it ends with all its kernels."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "IdentityProvider.token": "",
        "ServerApp.root_dir": folder,
        "LabApp.expose_app_in_browser": True,
        "LabApp.extension_manager": "readonly",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    settings = folder / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')  # else it asks, in front of all
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    log = (folder / "lab.log").open("wb")
    server = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items())], stdout=log, stderr=log, env=environment
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/api/status", timeout=5).close()
                break
            assert server.poll() is None, (folder / "lab.log").read_text()
            time.sleep(0.25)
        yield address
    finally:
        server.terminate()  # it takes its kernels with it
        server.wait(20)
        log.close()


@contextlib.contextmanager
def chromium(**options):
    """A page of a browser that keeps what went wrong in it as `page.troubles`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 900}, **options)
        page.troubles = []
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("request", lambda request: "127.0.0.1" in request.url or request.url.startswith(("data:", "blob:"))
                or page.troubles.append(f"asked for {request.url}"))  # fmt: skip
        try:
            yield page
        finally:
            browser.close()


class Notebook:
    """A notebook that is open in the browser."""

    def __init__(self, page, address, path, cells=None, outputs=()):
        if cells is not None:  # else it is there already
            self.write(path, cells, outputs)
        self.page, self.address, self.path = page, address, path
        self.place = path.relative_to(next(folder for folder in path.parents if (folder / "lab.log").exists()))
        self.open()
        self.theme("Light")

    @staticmethod
    def write(path, cells, outputs):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell, outputs=list(outputs)) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, path)

    def open(self):
        self.page.goto(f"{self.address}/doc/tree/{self.place}?reset")
        self.page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.context", timeout=60_000)
        self.page.evaluate("""async () => {
            await jupyterapp.restored;
            const w = jupyterapp.shell.currentWidget;
            await w.context.ready; await w.sessionContext.ready; await w.sessionContext.session.kernel.info;
        }""")

    def theme(self, name):
        self.page.evaluate(f"() => jupyterapp.commands.execute('apputils:change-theme', {{ theme: 'JupyterLab {name}' }})")
        self.page.wait_for_timeout(1200)

    def run_all(self):
        self.page.evaluate("() => jupyterapp.commands.execute('notebook:run-all-cells')")

    def run_cell(self, k):
        """Run a cell, counted from 0, those of text too."""
        self.page.evaluate(
            """async (k) => {
                jupyterapp.shell.currentWidget.content.activeCellIndex = k;
                await jupyterapp.commands.execute('notebook:run-cell');
            }""", k)  # fmt: skip

    def save(self):
        self.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")

    def ask(self, code):
        """What an expression is worth in the kernel."""
        return json.loads(self.page.evaluate(
            """async (code) => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                code = `import json as _j; print(_j.dumps(${code}))`;
                const request = kernel.requestExecute({ code, store_history: false });
                let text = '';
                request.onIOPub = (m) => { if (m.header.msg_type === 'stream') text += m.content.text;
                                           if (m.header.msg_type === 'error') text += JSON.stringify(m.content.evalue); };
                await request.done;
                return text;
            }""", code))  # fmt: skip

    def until(self, code, seconds=20):
        """Wait until an expression is true in the kernel."""
        for _ in range(int(seconds * 5)):
            if self.ask(f"bool({code})"):
                return
            self.page.wait_for_timeout(200)
        raise AssertionError(f"not within {seconds} s: {code}")

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png")
