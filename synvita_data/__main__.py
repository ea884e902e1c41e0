"""The `synvita` program, also as `python -m synvita_data`: Ctrl-C is one line also while its commands are still imported."""

import sys


def main() -> None:
    """Run the program."""
    try:
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        from .crash import INTERRUPTED, interrupted
        from .display import write

        write(f"{interrupted(None)}\n", err=True)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
