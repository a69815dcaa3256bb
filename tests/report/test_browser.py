"""The report in a real browser: no console error, no request, nothing wider than a phone, readable in dark mode."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from finished import Data, Result, config, figures_of, written

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((path for name in BROWSERS if (path := shutil.which(name))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs chromium or chrome on the PATH")]

# Runs inside the page: how wide it is, which elements stand out of it, and the contrast of text with what is behind it.
PROBE = """
<script>
const faults = [];
addEventListener('error', e => faults.push(e.message), true);
addEventListener('load', () => {
  const back = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!c.endsWith(', 0)') && c !== 'transparent') return c; } return 'rgb(255, 255, 255)'; };
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(x =>
    x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const contrast = e => { const s = getComputedStyle(e); const ink = e.closest('svg') ? s.fill : s.color;
    const [a, b] = [light(ink), light(back(e))].sort((x, y) => y - x); return (a + .05) / (b + .05); };
  const texts = [...document.querySelectorAll('h1,h2,h3,p,li,th,td,figcaption,svg text')].filter(e =>
    e.textContent.trim() && getComputedStyle(e).fill !== 'none');
  const inside = e => !e.closest('.wide') && !e.closest('pre');
  const out = {width: innerWidth, page: document.documentElement.scrollWidth, faults,
    wide: [...document.querySelectorAll('main *')].filter(e => inside(e) &&
      e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + ' ' + e.className).slice(0, 5),
    contrast: Math.min(...texts.map(contrast)), dark: matchMedia('(prefers-color-scheme: dark)').matches,
    requests: performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))};
  const pre = document.createElement('pre'); pre.id = 'probe'; pre.textContent = JSON.stringify(out);
  document.body.append(pre); });
</script>
"""

FRAME = """
<iframe id="frame" src="{page}" width="{width}" height="800" style="border: 0"></iframe>
<script>
onload = () => setTimeout(() => {{
  const seen = Object.assign(document.createElement('pre'), {{id: 'seen'}});
  seen.textContent = document.getElementById('frame').contentDocument.getElementById('probe').textContent;
  document.body.append(seen); }}, 200);
</script>
"""


def opened(page: Path, text: str, width: int, dark: bool) -> tuple[dict[str, Any], str]:
    """What the probe saw, and the browser's log; the page stands in a frame, since windows have a least width."""
    page.write_text(text.replace("</head>", f"{PROBE}</head>"), encoding="utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.format(page=page.name, width=width), encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--virtual-time-budget=3000",
    ]
    flags += [f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--enable-logging=stderr", "--dump-dom"]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [str(BROWSER), *flags, profile, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(found[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&")), done.stderr


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (400, False), (400, True)])
def test_a_browser_shows_it_well(tmp_path: Path, result: Result, data: Data, width: int, dark: bool) -> None:
    text = written(tmp_path, figures_of(result), config(), data)
    seen, log = opened(tmp_path / "page.html", text, width, dark)
    assert (seen["width"], seen["dark"]) == (width, dark)
    assert seen["page"] <= width and seen["wide"] == []
    assert seen["requests"] == [] and seen["faults"] == [] and "CONSOLE" not in log
    assert seen["contrast"] >= 4.5  # WCAG AA
    broken, _ = opened(tmp_path / "page.html", text.replace("<main>", '<main><img src="gone.png">'), width, dark)
    assert broken["faults"]  # so the probe sees what it should
