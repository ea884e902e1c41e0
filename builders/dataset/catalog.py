"""What is known about sources, generators and scorers: licences and where they come from.

The dataset card is filled from here; a source or generator that is not listed is reported in the
card as unknown, never guessed.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """A dataset of real videos. Its videos are referred to by id and never redistributed."""

    name: str
    title: str
    terms: str
    url: str


@dataclass(frozen=True, slots=True)
class Generator:
    """A text-to-video model whose videos a config holds."""

    name: str
    title: str
    licence: str
    url: str
    settings: str


SOURCES = {
    source.name: source
    for source in (
        Source(
            "msr-vtt",
            "MSR-VTT",
            "research use; videos belong to their YouTube uploaders",
            "https://www.microsoft.com/en-us/research/publication/msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/",
        ),
        Source(
            "vatex",
            "VATEX (Kinetics-600 clips)",
            "captions CC BY 4.0; videos belong to their YouTube uploaders",
            "https://eric-xw.github.io/vatex-website/",
        ),
        Source(
            "tempo",
            "TEMPO (DiDeMo clips)",
            "captions as released by the authors; videos belong to their Flickr uploaders",
            "https://github.com/LisaAnne/TemporalLanguageRelease",
        ),
        Source(
            "activitynet",
            "ActivityNet (VideoCon-Human)",
            "videos belong to their YouTube uploaders",
            "http://activity-net.org/",
        ),
        Source("shapes", "Shapes world (rendered by this package)", "Apache-2.0", ""),
    )
}

GENERATORS = {
    generator.name: generator
    for generator in (
        Generator(
            "cogvideox",
            "CogVideoX",
            "2b: Apache-2.0; 5b: CogVideoX licence",
            "https://huggingface.co/THUDM/CogVideoX-2b",
            "720×480, 49 frames, 8 fps",
        ),
        Generator(
            "lavie", "LaVie", "Apache-2.0", "https://github.com/Vchitect/LaVie", "512×320, 32 frames, 8 fps"
        ),
        Generator(
            "videocrafter2",
            "VideoCrafter2",
            "Apache-2.0 (code); research use (weights)",
            "https://github.com/AILab-CVC/VideoCrafter",
            "512×320, 32 frames, 8 fps",
        ),
        Generator("shapes", "Shapes world", "Apache-2.0", "", "rendered by this package from a seed"),
    )
}
