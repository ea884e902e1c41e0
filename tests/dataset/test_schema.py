"""One description of the columns gives what `datasets` itself makes of it: types, metadata and the card's list."""

import json
import subprocess
import sys

import datasets
import pytest

from synvita_data.schema import arrow_schema, card_features, features


@pytest.mark.parametrize("contrast", [False, True])
def test_arrow_card_and_features_are_those_of_datasets(contrast):
    own, theirs = features(contrast=contrast), arrow_schema(contrast=contrast)
    assert theirs.names == own.arrow_schema.names and theirs.types == own.arrow_schema.types
    assert json.loads(theirs.metadata[b"huggingface"]) == json.loads(
        own.arrow_schema.metadata[b"huggingface"]
    )
    assert datasets.Features.from_arrow_schema(theirs) == own
    assert card_features(contrast=contrast) == own._to_yaml_list()
    assert isinstance(own["synthetic_video"], datasets.Video) and not own["synthetic_video"].decode
    assert own["misalignment"].int2str(0) == "action"


def test_the_types_of_a_table_need_no_datasets():
    code = "import sys; from synvita_data.schema import arrow_schema as a; a(); sys.exit('datasets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
