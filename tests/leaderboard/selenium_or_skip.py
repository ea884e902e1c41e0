"""Names of selenium that tests use; the module's tests skip where it is not installed."""

try:
    from selenium.webdriver.common.keys import Keys
except ImportError:
    Keys = None  # type: ignore[assignment, misc]
__all__ = ["Keys"]
