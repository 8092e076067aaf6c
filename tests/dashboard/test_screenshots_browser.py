"""Pictures of pages: each as it is told to be, and those of the documents small enough."""

import struct
from pathlib import Path

from playwright.sync_api import Browser

from tests.dashboard.all_pages import ALL_PAGES
from tests.dashboard.sample import Sample
from tests.dashboard.screenshots import IN_DOCUMENTS, MOST_BYTES, ROOT, SCHEMES, SIZES, Camera


def size_of(picture: Path) -> tuple[int, int]:
    """As its header says (PNG, 11.2.2)."""
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_a_page_is_taken_light_and_dark_on_phone_and_desk(sample: Sample, chromium: Browser, tmp_path: Path) -> None:
    camera = Camera(sample, chromium, tmp_path, tmp_path)
    camera.take_all(next(page for page in ALL_PAGES if page.name == "sign-in"))
    assert camera.problems == []
    for size, (width, height) in SIZES.items():
        light, dark = (tmp_path / f"sign-in-{size}-{scheme}.png" for scheme in SCHEMES)
        assert size_of(light)[0] == size_of(dark)[0] == width
        assert size_of(light)[1] >= height
        assert light.read_bytes() != dark.read_bytes()


def test_the_pictures_of_documents_are_of_pages_that_there_are() -> None:
    names = {f"{page.name}-{size}-{scheme}" for page in ALL_PAGES for size in SIZES for scheme in SCHEMES}
    assert names >= IN_DOCUMENTS
    for picture in (ROOT / "docs" / "images").glob("*.png"):
        assert picture.stem in IN_DOCUMENTS, "make screenshots does not renew it"
        assert picture.stat().st_size <= MOST_BYTES
