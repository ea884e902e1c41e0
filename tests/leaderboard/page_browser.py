"""Chromium without a window, driven through selenium; tests skip where one of them is missing."""

import shutil
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MISSING = " and ".join(
    name
    for name, there in (("chromium", CHROMIUM), ("chromedriver", DRIVER), ("selenium", find_spec("selenium")))
    if not there
)
LIMIT = 120  # seconds after which an event will not come; nothing waits for it to pass


class Shown:
    """A page in the browser.

    Attributes:
        driver: selenium's.
        downloads: folder that downloads go to.
    """

    def __init__(self, driver, downloads: Path):
        self.driver, self.downloads = driver, downloads

    def open(self, path: Path | str, address: str = ""):
        """Load a page, even where only the part behind # is another."""
        self.driver.get("about:blank")
        self.driver.get(
            (path.as_uri() if isinstance(path, Path) else path) + (f"#{address}" if address else "")
        )
        return self

    def js(self, code: str, *arguments):
        return self.driver.execute_script(code, *arguments)

    def one(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def click(self, selector: str):
        self.js("document.querySelector(arguments[0]).click()", selector)

    def choose(self, selector: str, value: str):
        self.js(
            "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('change', {bubbles: true}))",
            selector,
            value,
        )

    def search(self, words: str):
        box = self.one("#q")
        box.clear()
        box.send_keys(words)

    def text(self, selector: str) -> str:
        return self.js("return document.querySelector(arguments[0]).textContent", selector)

    def texts(self, selector: str) -> list[str]:
        """Of the elements that are visible."""
        return self.js(
            "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.textContent)",
            selector,
        )

    def names(self) -> list[str]:
        """Models in the order of the table."""
        return self.texts("#board tbody .name")

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def until(self, holds):
        """Wait until something holds, and return it."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, LIMIT, poll_frequency=0.05).until(lambda _: holds())

    def download(self, kind: str) -> str:
        path = self.downloads / f"leaderboard.{kind}"
        path.unlink(missing_ok=True)
        self.click(f'[data-download="{kind}"]')
        self.until(path.is_file)  # the browser renames it when it is whole
        return path.read_text(encoding="utf-8")

    def size(self, width: int, height: int = 800, **media: str):
        """The size of the screen, and media features such as `prefers-color-scheme`."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def chromium():
    """A browser, as `Shown`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # No sandbox: tests may run as root in a container; pages are our own.
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(prefix="synvita-browser-") as folder:
        profile, downloads = Path(folder, "profile"), Path(folder, "downloads")
        downloads.mkdir()
        options.add_argument(f"--user-data-dir={profile}")
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            driver.set_page_load_timeout(LIMIT)
            driver.set_script_timeout(LIMIT)
            driver.execute_cdp_cmd(
                "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
            )
            yield Shown(driver, downloads)
        finally:
            driver.quit()
