"""Files that have no name any more and are still open."""

from pathlib import Path


def open_spills() -> list[str]:
    """Spill files that this process holds."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(each.readlink()))
        except OSError:  # that of the listing itself
            continue
    return [name for name in found if "-spill" in name]
