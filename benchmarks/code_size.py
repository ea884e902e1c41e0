"""Count the product's files and code lines: without blank lines, comments and docstrings.

    python benchmarks/code_size.py              # this checkout, room by room
    python benchmarks/code_size.py CHECKOUT     # another one, to compare

tests/, benchmarks/ and examples/ do not count. A line of a string that is not a docstring is code.
"""

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

TOPS = ("synvita_data", "builders", "training", "evaluate_metrics")
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Lines of a file that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(ast.parse(source)))


def docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and ast.get_docstring(node, clean=False) is not None:
            lines.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def main(root: Path) -> None:
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for top in TOPS:
        for path in sorted((root / top).rglob("*.py")):
            room = str(path.parent.relative_to(root))
            files[room] += 1
            lines[room] += code_lines(path.read_text(encoding="utf-8"))
    print(f"{'room':<44}{'files':>6}{'lines':>8}")
    for room in files:
        print(f"{room:<44}{files[room]:>6}{lines[room]:>8,}")
    print(f"{'all':<44}{files.total():>6}{lines.total():>8,}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
