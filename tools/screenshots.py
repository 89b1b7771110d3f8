"""Takes the pictures of the console in docs/screenshots from a running one: each page, desktop and phone, light and dark.

Usage: python -m tools.screenshots http://127.0.0.1:8780 docs/screenshots [page …]
"""

import sys
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from serving.console.web.templates import PAGES as CONSOLE_PAGES
from tools.chromium import FLAGS, fetch_chromium, find_chromium

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PAGES = tuple(name for name, _ in CONSOLE_PAGES)
MAX_BYTES = 300_000


def main(url: str, folder: Path, pages: list[str]) -> None:
    """Write `<page>-<size>-<colours>.png` for every page, size and colours."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium() or fetch_chromium(), args=list(FLAGS))
        for size, (width, height) in SIZES.items():
            for colours in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    color_scheme="dark" if colours == "dark" else "light",
                    locale="en-GB",
                )
                page = context.new_page()
                for name in pages:
                    open_page(page, url, name)
                    path = folder / f"{name}-{size}-{colours}.png"
                    picture(page, path)
                    print(path, path.stat().st_size)
                context.close()
        browser.close()


def picture(page: Page, path: Path) -> None:
    """Write the whole page, or as much from its top as fits, in 256 colours: a third of the bytes, and no eye tells."""
    whole = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB").quantize(256)
    height = whole.height
    whole.save(path, optimize=True)
    while path.stat().st_size > MAX_BYTES:
        height = height * 9 // 10
        whole.crop((0, 0, whole.width, height)).save(path, optimize=True)


def open_page(page: Page, url: str, name: str) -> None:
    """Open a page with something to see: the charts drawn; in the playground, two bundles if there are two, and why they differ."""
    page.goto(f"{url}/{name}")
    if name == "overview":
        page.wait_for_timeout(4_000)
    if name == "playground":
        bundles = [one for one in page.locator("select[name=bundle] option").evaluate_all("all => all.map(o => o.value)") if one]
        pair = f"&bundle={bundles[0]}&against={bundles[1]}" if len(bundles) > 1 else ""
        for user in page.locator("#users option").evaluate_all("all => all.map(o => o.value)") or [""]:
            page.goto(f"{url}/playground?k=12&user={quote(user)}{pair}")
            # this machine's fonts may lack other scripts
            if page.locator(".answer .sub", has_text="English").count():
                break
        why = page.locator(".hits li.gone a")
        if why.count():
            # without its fragment: the picture begins at the top
            page.goto(f"{url}{(why.first.get_attribute('href') or '').partition('#')[0]}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] or list(PAGES))
