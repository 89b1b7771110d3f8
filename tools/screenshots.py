"""Takes the pictures of the console in docs/screenshots from a running one: each page, desktop and phone, light and dark.

Usage: python -m tools.screenshots http://127.0.0.1:8780 docs/screenshots [page …]
"""

import sys
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

from tools.chromium import FLAGS, fetch_chromium, find_chromium

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PAGES = ("overview", "rollouts", "playground", "paper")
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
                    picture(page, path, width=width)
                    print(path, path.stat().st_size)
                context.close()
        browser.close()


def picture(page: Page, path: Path, *, width: int) -> None:
    """Write the whole page, or as much from its top as fits."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.screenshot(path=path, full_page=True)
    while path.stat().st_size > MAX_BYTES:
        height *= 0.9
        page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": height})


def open_page(page: Page, url: str, name: str) -> None:
    """Open a page with something to see: the charts drawn; in the playground, two bundles if there are two, and why they differ."""
    page.goto(f"{url}/{name}")
    if name == "overview":
        page.wait_for_timeout(4_000)
    if name == "playground":
        bundles = [one for one in page.locator("select[name=bundle] option").evaluate_all("all => all.map(o => o.value)") if one]
        users = page.locator("#users option").evaluate_all("all => all.map(o => o.value)")
        query = f"?k=12&user={quote(users[0] if users else '')}"
        if len(bundles) > 1:
            query += f"&bundle={bundles[0]}&against={bundles[1]}"
        page.goto(f"{url}/playground{query}")
        why = page.locator(".hits li.gone a")
        if why.count():
            page.goto(f"{url}{why.first.get_attribute('href')}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:] or list(PAGES))
