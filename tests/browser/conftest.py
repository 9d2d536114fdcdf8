"""A real browser, where the machine has one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

MEASURE = """
const spilled = d => [...d.querySelectorAll('.card *, .verdict *, .action')].filter(e =>
  !e.closest('.scroll') && !e.closest('svg') &&
  e.getBoundingClientRect().right > e.closest('.card, .verdict, main').getBoundingClientRect().right + 1
).map(e => e.tagName + ':' + e.textContent.trim().slice(0, 30).replace(/[|;]/g, ' ')).join('|');
addEventListener('load', () => {
  const d = document.getElementById('f').contentDocument, e = d.documentElement;
  d.querySelectorAll('details').forEach(x => x.open = true);
  const names = w => [...w.performance.getEntriesByType('resource')].map(r => r.name).join(',');
  const p = document.createElement('pre');
  p.textContent = 'W=' + e.scrollWidth + ';C=' + e.clientWidth + ';R=' + names(window) + '|' + names(d.defaultView)
    + ';S=' + spilled(d) + ';T=' + d.body.innerText;
  document.body.appendChild(p);
});
"""


@dataclass(frozen=True)
class Seen:
    """What the browser made of a page: its width when laid out, what it fetched, and what stands out of its card."""

    text: str
    scroll_width: int
    client_width: int
    requests: tuple[str, ...]
    spilled: tuple[str, ...]


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium; tests skip, saying how to get one, where there is none."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if found is None:
        pytest.skip("no Chromium on this machine: `make system` installs it on Debian and Ubuntu")
    return found


@pytest.fixture
def look(chromium: str, tmp_path: Path) -> Callable[[Path, int], Seen]:
    """Lay a page out at a width, in a frame, and report what was measured."""

    def _look(page: Path, width: int) -> Seen:
        frame = page.parent / f"frame-{width}.html"
        frame.write_text(
            f'<body><iframe id="f" src="{page.name}" style="width:{width}px;height:3000px;border:0"></iframe>'
            f"<script>{MEASURE}</script></body>",
            encoding="utf-8",
        )
        done = subprocess.run(
            [
                chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--allow-file-access-from-files", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,3200",
                "--virtual-time-budget=3000", "--dump-dom", frame.as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        found = re.search(r"W=(\d+);C=(\d+);R=(.*?);S=(.*?);T=(.*)</pre>", done.stdout, flags=re.DOTALL)
        assert found is not None, done.stdout[-2000:]
        requests = tuple(r for r in re.split(r"[,|]", found[3]) if r and not r.endswith(page.name))
        spilled = tuple(part for part in found[4].split("|") if part)
        return Seen(found[5], int(found[1]), int(found[2]), requests, spilled)

    return _look
