"""`python -m tools.gallery FOLDER --run ID --quiet ID --alarm ID`: figures of real pages, as a browser shows them.

The pages are those of runs in an MLflow store: `report.html` of a main job, and `monitor.html` of two days. A headless
Chromium draws them, see docs/gallery.md for the commands that make such runs.
"""

import argparse
import base64
import io
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient
from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

_WIDE, _PHONE, _MLFLOW_WIDTH = 1200, 390, 1425  # CSS pixels
_LARGEST = 150_000  # bytes of a figure: a clone carries all of them


@dataclass(frozen=True, kw_only=True)
class Shot:
    """A figure of the gallery.

    Args:
        name: of its file.
        page: `report`, `quiet` or `alarm`.
        first, last: ids of the sections that it shows, both included; "" from the top.
        height: at most, in CSS pixels.
    """

    name: str
    page: str
    first: str = ""
    last: str = ""
    width: int = _WIDE
    height: int = 1400
    is_dark: bool = False


SHOTS = (
    Shot(name="report_answer", page="report", last="strategies", height=1120),
    Shot(name="report_explorer", page="report", first="explorer", last="explorer", height=1260),
    Shot(name="report_curves", page="report", first="curves", last="curves", height=1135),
    Shot(name="report_features", page="report", first="features", last="features"),
    Shot(name="report_dark", page="report", first="explorer", last="explorer", height=1260, is_dark=True),
    Shot(name="report_phone", page="report", last="strategies", width=_PHONE, height=1430),
    Shot(name="monitor_quiet", page="quiet", last="base-rate"),
    Shot(name="monitor_alarm", page="alarm", last="base-rate"),
    Shot(name="monitor_drift", page="alarm", first="drift", last="drift"),
    Shot(name="monitor_phone_dark", page="alarm", last="performance", width=_PHONE, height=1300, is_dark=True),
)


def take(browser: Chrome, page: Path, shot: Shot) -> bytes:
    """The figure as a PNG."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if shot.is_dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": shot.width, "height": 900, "deviceScaleFactor": 1, "mobile": shot.width == _PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(page.as_uri())
    top, bottom = (
        browser.execute_script(
            "const one = document.getElementById(arguments[0]);"
            "return one ? one.getBoundingClientRect()[arguments[1]] + window.scrollY : 0;",
            section, side,
        )
        for section, side in ((shot.first, "top"), (shot.last, "bottom"))
    )  # fmt: skip
    clip = {"x": 0, "y": top, "width": shot.width, "height": min(bottom - top + 16, shot.height), "scale": 1}
    asked = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    return _small(base64.b64decode(browser.execute_cdp_cmd("Page.captureScreenshot", asked)["data"]))


def of_mlflow(screenshot: Path) -> bytes:
    """MLflow's list of runs as a PNG, without the pane of its assistant on the right."""
    image, found = Image.open(screenshot), io.BytesIO()
    image.crop((0, 0, min(image.width, _MLFLOW_WIDTH), image.height)).save(found, "png")
    return _small(found.getvalue())


def _small(png: bytes) -> bytes:
    """The same in 128 colours, a third of the bytes: pages are text and lines."""
    found = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(found, "png", optimize=True)
    return found.getvalue()


@contextmanager
def _browser() -> Iterator[Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise SystemExit("Chromium or its driver is not installed, on Debian: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    browser = Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def main(argv: Sequence[str] | None = None) -> int:
    """Write the figures; fails where one is too large for a repository."""
    parser = argparse.ArgumentParser(prog="python -m tools.gallery", description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--tracking-uri", required=True, metavar="URI", help="MLflow store of the runs")
    for page in ("run", "quiet", "alarm"):
        parser.add_argument(f"--{page}", required=True, metavar="ID", help="MLflow run")
    parser.add_argument(
        "--mlflow", required=True, type=Path, metavar="PNG",
        help="build/screenshots/mlflow_strategies.png, which tests/jobs/test_what_a_run_shows.py leaves",
    )  # fmt: skip
    args = parser.parse_args(argv)
    args.target.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(args.tracking_uri)
    runs = {
        "report": (args.run, "report.html"),
        "quiet": (args.quiet, "monitor.html"),
        "alarm": (args.alarm, "monitor.html"),
    }
    with tempfile.TemporaryDirectory() as folder, _browser() as browser:
        pages = {}
        for name, (run, file) in runs.items():
            Path(folder, name).mkdir()
            pages[name] = Path(client.download_artifacts(run, file, f"{folder}/{name}"))
        found = {shot.name: take(browser, pages[shot.page], shot) for shot in SHOTS}
    for name, png in {**found, "mlflow_strategies": of_mlflow(args.mlflow)}.items():
        if len(png) > _LARGEST:
            raise SystemExit(f"{name} has {len(png):,} bytes, {_LARGEST:,} at most: show less of the page")
        (args.target / f"{name}.png").write_bytes(png)
    return 0


if __name__ == "__main__":
    sys.exit(main())
