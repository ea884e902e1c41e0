"""The page served by a small Gradio app, which reads the results again when asked.

The first page compares by intervals alone, so that it is there soon; the one with the pairs takes its place as soon as
it has been computed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...display import html_text
from ...errors import SourceError, SynvitaError
from ...extras import require
from ..table import Leaderboard, make_leaderboard, read_results
from .html import TITLE, make_page

if TYPE_CHECKING:
    from fastapi import FastAPI

_CSS = """
.gradio-container { max-width: none !important; padding: 0 !important }
iframe.board { border: 0; width: 100%; height: calc(100dvh - 6.5rem); min-height: 24rem; display: block }
footer { display: none !important }
"""


@dataclass
class ServedBoard:
    """The pages of a folder of results.

    Attributes:
        results: the folder; one that is empty gives a page that says so.
        published: with the paper's rows.
        annotations: for comparing questions pair by pair.
        title: of the page.
        number: of the page that is served now; each has another.
        text: of that page.
        said: one line on it.
        complete: set when the page with the pairs is the one that is served.
    """

    results: Path
    published: bool = True
    annotations: Path | None = None
    title: str = TITLE
    number: int = 0
    text: str = ""
    said: str = ""
    complete: threading.Event = field(default_factory=threading.Event)
    _turn: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def read(self) -> None:
        """Read the results and make the page, without pairs; those are compared in the background."""
        problems: list[SynvitaError] = []
        try:
            found = read_results(self.results, on_broken=problems.append)
        except SourceError as error:
            if not self.results.is_dir():
                raise
            found, problems = [], problems or [error]

        def board(paired: bool) -> Leaderboard:
            return make_leaderboard(
                found,
                published=self.published,
                problems=problems,
                paired=paired,
                annotations=self.annotations,
            )

        with self._lock:
            self._turn += 1
            turn = self._turn
            self.complete.clear()
        first = make_page(board(False), pairs=False, title=self.title)
        words = f"{len(found):,} results, {len(problems):,} unusable"
        self._put(turn, first.text, f"{words}; pairs are being compared, until then by intervals")

        def finish() -> None:
            whole = make_page(board(True), found, annotations=self.annotations, title=self.title)
            if self._put(turn, whole.text, f"{words}; {whole.pairs:,} pairs compared"):
                self.complete.set()

        threading.Thread(target=finish, daemon=True, name="pairs").start()

    def _put(self, turn: int, text: str, said: str) -> bool:
        """Serve this page, unless the results were read again since."""
        with self._lock:
            if turn != self._turn:
                return False
            self.text, self.said, self.number = text, said, self.number + 1
            return True


def make_app(board: ServedBoard) -> "FastAPI":
    """The app: Gradio's page at `/`, the leaderboard in it, and the leaderboard alone at `/page`.

    Args:
        board: which has been read.

    Raises:
        MissingPackageError: gradio is not installed.
    """
    require("leaderboard", "gradio", what="synvita leaderboard --serve")
    import gradio as gr
    from fastapi import FastAPI
    from fastapi.responses import HTMLResponse

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/page", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        return HTMLResponse(board.text, headers={"Cache-Control": "no-store"})

    def frame() -> str:
        return f'<iframe class="board" title="{html_text(board.title)}" src="page?{board.number}"></iframe>'

    def again() -> tuple[str, str]:
        try:
            board.read()
        except SynvitaError as error:
            raise gr.Error(html_text(error)) from error
        return frame(), html_text(board.said)

    with gr.Blocks(title=board.title, analytics_enabled=False, fill_width=True) as blocks:
        with gr.Row(equal_height=True):
            said = gr.HTML(html_text(board.said), padding=True)
            button = gr.Button("Read the results again", size="sm", scale=0, min_width=220)
        shown = gr.HTML(frame())
        button.click(again, outputs=[shown, said])
        # Whoever opens the page gets the newest one.
        blocks.load(lambda: (frame(), html_text(board.said)), outputs=[shown, said], show_progress="hidden")
    # Fonts of the machine: Gradio's own themes ask others for theirs.
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    mounted: FastAPI = gr.mount_gradio_app(app, blocks, path="/", theme=theme, css=_CSS, show_error=True)
    return mounted


def serve(
    board: ServedBoard, *, host: str = "127.0.0.1", port: int = 7860, say: Callable[[str], None]
) -> None:
    """Serve until stopped.

    Args:
        board: which is read here.
        host, port: where; the loopback alone by default.
        say: takes a line where it is served.
    """
    require("leaderboard", "gradio", what="synvita leaderboard --serve")
    import uvicorn

    board.read()
    app = make_app(board)
    say(f"served at http://{host}:{port}, {board.said}; stop with Ctrl-C")
    uvicorn.run(app, host=host, port=port, log_level="warning")
