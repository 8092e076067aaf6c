"""`python -m tests.dashboard.screenshots`: a picture of every page, light and dark, as on a phone and on a desk.

The whole of each page goes to `build/screenshots`, and the windows of a few to `docs/images`, for the documents.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from shutil import which

from playwright.sync_api import Browser, sync_playwright

from tests.dashboard.all_pages import ALL_PAGES, Shown
from tests.dashboard.chromium import ARGUMENTS, DESKTOP, Windows, begin_session
from tests.dashboard.sample import Sample

ROOT = Path(__file__).parent.parent.parent
PHONE = (390, 844)
SIZES = {"phone": PHONE, "desktop": DESKTOP}
SCHEMES = {"light": False, "dark": True}

IN_DOCUMENTS = frozenset(
    {
        "app-month-desktop-light",
        "delivery-failed-desktop-light",
        "notifier-slack-desktop-dark",
        "apps-phone-dark",
        "deliveries-phone-light",
    }
)
"""Pictures that documents show."""
BELOW = 300
"""Pixels that they show beyond the window."""
MOST_BYTES = 150 * 1024


@contextmanager
def sampling() -> Iterator[Sample]:
    with tempfile.TemporaryDirectory() as folder:
        sample = Sample(Path(folder))
        try:
            sample.build()
            yield sample
        finally:
            sample.end()


class Camera:
    def __init__(self, sample: Sample, browser: Browser, folder: Path, documents: Path) -> None:
        self._sample = sample
        self._browser = browser
        self._folder = folder
        self._documents = documents
        self._cookies = {name: begin_session(sample.site, name) for name in ("alice", "root")}
        self.problems: list[str] = []

    def take_all(self, shown: Shown) -> None:
        for size in SIZES:
            for scheme in SCHEMES:
                self._take(shown, size, scheme)

    def _take(self, shown: Shown, size: str, scheme: str) -> None:
        name = f"{shown.name}-{size}-{scheme}"
        with ExitStack() as open_ones:
            window = Windows(self._browser, open_ones).open(size=SIZES[size], is_dark=SCHEMES[scheme])
            if shown.of != "visitor":
                reader = "root" if shown.of == "admin" else "alice"
                window.add_cookies(self._sample.site, self._cookies[reader])
            window.page.goto(self._sample.site.url + shown.address.format(**self._sample.names))
            is_long = shown.name == "reference"
            window.page.screenshot(path=self._folder / f"{name}.png", full_page=not is_long)
            if name in IN_DOCUMENTS:
                path = self._documents / f"{name}.png"
                width, height = SIZES[size]
                clip = {"x": 0, "y": 0, "width": width, "height": height + BELOW}
                window.page.screenshot(path=path, full_page=True, clip=clip)
                if path.stat().st_size > MOST_BYTES:
                    self.problems.append(f"{path.name} has {path.stat().st_size} bytes, more than {MOST_BYTES}")


def parse_options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.dashboard.screenshots", description=__doc__)
    parser.add_argument("--only", default="", help="pages whose name contains this")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "screenshots")
    parser.add_argument("--documents", type=Path, default=ROOT / "docs" / "images")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    options = parse_options(words)
    chromium = which("chromium")
    if chromium is None:
        print("chromium is not installed: there is nothing to take pictures with", file=sys.stderr)
        return 1
    for folder in (options.folder, options.documents):
        folder.mkdir(parents=True, exist_ok=True)
    pages = [page for page in ALL_PAGES if options.only in page.name]
    with (
        sampling() as sample,
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)) as browser,
    ):
        camera = Camera(sample, browser, options.folder, options.documents)
        for page in pages:
            camera.take_all(page)
    print(f"{len(pages) * 4} pictures of {len(pages)} pages are in {options.folder}")
    print("\n".join(camera.problems), file=sys.stderr)
    return 1 if camera.problems else 0


if __name__ == "__main__":
    sys.exit(main())
