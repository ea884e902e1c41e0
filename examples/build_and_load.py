"""Build a dataset from captions, videos and scores, and load it.

    python examples/build_and_load.py out/example

Renders a small world of moving shapes to have something to build from. For your own data, put your files in place of
`world.triplets` (a CSV with `caption` and `neg_caption`), `world.synthetic` (a folder of videos) and
`world.vqascores` (a table of scores); docs/dataset.md describes them. Needs no torch.
"""

import sys
from pathlib import Path

from synvita_data import BuildOptions, build_dataset, load_triplets
from synvita_data.builders.shapes import make_shapes


def main(out: Path) -> None:
    world = make_shapes(out / "world", pairs=35)

    # Rows, masks, weights and videos in one folder of Parquet files with a card; what cannot be used is quarantined.
    built = build_dataset(
        BuildOptions(
            triplets=world.triplets,
            synthetic=f"folder:{world.synthetic}",
            vqascores=world.vqascores,
            real_root=world.real,
            config="shapes",
            out=out / "dataset",
        )
    )

    # The same call takes the id of a repository on the Hub. Real videos are found below `real_root`.
    rows = load_triplets(built.out.resolve(), "shapes", split="train", real_root=world.real)
    row = rows[0]
    print(f"{len(rows)} rows for training")
    print(f"caption           {row['caption']}")
    print(f"contrast caption  {row['neg_caption']}")
    print(f"weight            {row['weight']:.3f}")
    print(f"synthetic video   {len(row['synthetic_video']['bytes']):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/example"))
