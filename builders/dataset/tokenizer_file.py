"""Load a fast tokenizer without transformers: all a mask needs is `tokenizer.json`."""

from pathlib import Path
from typing import TYPE_CHECKING

from synvita_data.errors import TokenizerError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(name: str) -> "Tokenizer":
    """A `tokenizers.Tokenizer` from a `tokenizer.json`, a model folder that holds one, or a Hub id.

    Raises:
        TokenizerError: no such file, or one that is not a fast tokenizer.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from tokenizers import Tokenizer

    path = Path(name)
    if path.is_dir():
        path = path / "tokenizer.json"
    try:
        if not path.is_file():
            path = Path(hf_hub_download(name, "tokenizer.json"))
        tokenizer = Tokenizer.from_file(str(path))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise TokenizerError(
            "cannot load a fast tokenizer",
            file=name,
            found=str(error).splitlines()[0],
            expected="a tokenizer.json, a folder that holds one, or the Hub id of a model that has one",
        ) from error
    except Exception as error:  # the Rust library raises plain Exception for a malformed file
        raise TokenizerError("not a fast tokenizer", file=path, found=str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
