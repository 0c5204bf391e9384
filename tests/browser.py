"""A real browser, without a window or a network, that opens a page and says what it found."""

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--enable-logging=stderr", "--virtual-time-budget=10000"),
)
_SECONDS = 120
# Whatever the page asks for from elsewhere is refused, and noted as a violation.
_POLICY = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; script-src 'unsafe-inline'\">"
)
_WATCH = """<script>
const refused = [];
document.addEventListener("securitypolicyviolation", event => refused.push(event.blockedURI));
</script>"""
_PROBE = """<script>
addEventListener("load", () => {
  const shown = () => [...document.querySelectorAll(".panel")]
    .filter(panel => panel.offsetParent !== null).map(panel => panel.className.replace("panel ", ""));
  const choices = {"": shown()};
  for (const label of document.querySelectorAll(".choice > label")) {
    label.click();
    choices[label.textContent] = shown();
  }
  const page = document.documentElement;
  const found = {
    width: innerWidth, client: page.clientWidth, scroll: page.scrollWidth, refused, choices,
    loaded: performance.getEntriesByType("resource").map(entry => entry.name),
    scripts: document.querySelectorAll("script").length, images: document.images.length,
    svgs: document.querySelectorAll("svg").length,
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script>"""
# A window is never narrower than 500 pixels; a frame is as wide as it is told.
_FRAME = """<!doctype html><body style="margin:0"><script>
addEventListener("message", event => {
  const element = document.createElement("pre");
  element.id = "probe";
  element.textContent = event.data;
  document.body.append(element);
});
</script><iframe src="page.html" style="border:0;width:%dpx;height:900px"></iframe></body>"""


@dataclass(frozen=True)
class Opened:
    """What the browser says of a page."""

    found: dict[str, Any]
    console: list[str]


def chromium() -> str:
    """Return the path of the browser."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found is not None, "Chromium is not installed: apt-get install chromium (Debian), as root"
    return found


def open_page(page: Path, *, width: int) -> Opened:
    """Open a copy of a page, in a frame of so many pixels, that looks at itself when it is loaded."""
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    probed = text.replace("<head>", f"<head>{_POLICY}{_WATCH}", 1).replace("</body>", f"{_PROBE}</body>")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "page.html").write_text(probed, encoding="utf-8")
        frame = Path(folder, "frame.html")
        frame.write_text(_FRAME % width, encoding="utf-8")
        words = [chromium(), *_FLAGS, f"--user-data-dir={folder}/profile", "--window-size=1600,1000"]
        done = subprocess.run(
            [*words, "--dump-dom", frame.as_uri()],
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    probe = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert probe is not None, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Opened(found=json.loads(unescape(probe[1])), console=console)
