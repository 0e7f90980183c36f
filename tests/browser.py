"""Open a page in headless Chromium and ask it what a reader sees: sizes, figures, the console, and what it asked for."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=5000",
)

HARNESS = """<!DOCTYPE html><html><body style="margin:0">
<iframe id="page" width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>
<pre id="probe"></pre>
<script>
window.addEventListener("load", function () {{
  var frame = document.getElementById("page"), page = frame.contentDocument, kept = null;
  page.querySelectorAll("details").forEach(function (d) {{ d.open = true; }});
  var box = page.getElementById("filter"), table = page.getElementById("cells");
  if (box) {{
    box.value = "bald T=20";
    box.dispatchEvent(new frame.contentWindow.Event("input"));
    kept = Array.from(table.querySelectorAll("tbody tr")).filter(function (r) {{ return !r.hidden; }}).length;
  }}
  document.getElementById("probe").textContent = JSON.stringify({{
    width: frame.contentWindow.innerWidth,
    scrollWidth: page.documentElement.scrollWidth,
    figures: Array.from(page.querySelectorAll("figure img")).map(function (i) {{
      return {{natural: i.naturalWidth, width: i.getBoundingClientRect().width, alternative: i.alt}};
    }}),
    kept: kept,
    requests: frame.contentWindow.performance.getEntriesByType("resource").map(function (e) {{ return e.name.slice(0, 80); }})
  }});
}});
</script></body></html>"""
"""The page in a frame of a phone's or a desk's width (a window cannot be as narrow as a phone), with every detail opened."""


@dataclass(frozen=True)
class Seen:
    """What a browser made of a page."""

    facts: dict[str, Any]
    console: list[str]
    """Messages, errors among them."""


def open_page(page: Path, folder: Path, width: int) -> Seen:
    """Open the page at that width."""
    harness = folder / f"harness-{width}.html"
    harness.write_text(HARNESS.format(width=width, page=escape(page.read_text(), quote=True)))
    assert CHROMIUM
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={folder / f'profile-{width}'}",
        "--window-size=1400,1000",
        "--dump-dom",
        harness.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stdout[-500:]
    return Seen(json.loads(unescape(found[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line])
