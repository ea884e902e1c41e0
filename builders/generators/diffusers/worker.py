"""The worker of every generator that is a pipeline of diffusers: claims in, mp4 files out.

A row has one stream of noise, drawn in fp32 on the CPU whatever the model's dtype and device. `randn` in another
dtype may be another stream of the same seed (which are, differs between releases of torch), and a GPU has streams of
its own. Every pipeline of diffusers draws its first latents in one method,
`prepare_latents(…, dtype, device, generator, latents)`, which alone knows their shape, order and packing. So that method
is asked for fp32 latents, from a CPU generator, and what it gives is cast to the dtype that the pipeline wanted.
"""

import gc
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from synvita_data.errors import CaptionError, EngineError, SourceError, VideoError, first_line
from synvita_data.jobs import Claim, Store
from synvita_data.models.runtime import one_cpu_thread, pick_device
from synvita_data.versions import installed

from ..base import (
    LIBRARIES,
    VIDEO,
    Recipe,
    Request,
    blames_worker,
    device_name,
    quarantining,
    video_fields,
)
from ..folder import place_videos
from .settings import ARGUMENTS

if TYPE_CHECKING:
    import torch

IN_FP32 = "fp32 latents from a CPU generator"
BY_PIPELINE = "drawn by the pipeline in its own dtype from a CPU generator"
_NEEDED = {"dtype", "generator", "latents"}
_TEXT_TOO = ("LTXConditionPipeline",)  # names pictures before the prompt, and does without them
# A whole video within this range of values shows nothing: what a VAE that overflowed gives.
FLAT_RANGE = 2


class PipelineWorker:
    """Holds one loaded pipeline.

    Args:
        recipe: what it makes.
        load: gives the pipeline in main memory, in evaluation mode, with its scheduler.
        root: folder of the store.
        out: folder where finished videos appear.
        device: of the pipeline; None chooses one.
    """

    def __init__(
        self, recipe: Recipe, load: Callable[[], Any], root: str, out: str, device: str | None
    ) -> None:
        self._recipe = recipe
        self._settings = recipe.settings
        self._store = Store(root)
        self._out = Path(out)
        self._device = pick_device(device)
        with out_of_memory_advice():
            self._pipe = load()
            _lay_out(self._pipe, self._settings, recipe.placement, self._device)
        self._arguments = call_arguments(type(self._pipe), self._settings)
        self._config = {
            **self._settings,
            **recipe.placement,
            "noise": noise_kind(self._pipe),
            "scheduler": type(self._pipe.scheduler).__name__,
            "device": device_name(self._device),
            "versions": installed(LIBRARIES),
        }

    def run(self, held: Iterator[tuple[Claim, Any]]) -> None:
        """Make every claim's video; `batch_size` of them in one call of the pipeline.

        A video is encoded and committed in a thread while the pipeline makes the next one.
        """
        size = int(self._settings["batch_size"])
        # One thread and one video at a time: frames of more than two videos are never in memory beside a batch.
        with one_cpu_thread(self._device), ThreadPoolExecutor(1, "encode") as encoder:
            before: Future[None] | None = None
            while group := list(islice(held, size)):
                batch = [(claim, requests[0]) for claim, requests in group]
                made = self._make([request for _, request in batch])
                for (claim, request), frames in zip(batch, made, strict=True):
                    if before is not None:
                        before.result()  # raises what is wrong with the worker or the disk
                    before = encoder.submit(self._commit, claim, request, frames)
            if before is not None:
                before.result()

    def close(self) -> None:
        """Free the model's memory."""
        del self._pipe
        gc.collect()
        if not self._device.startswith("cpu"):
            import torch

            torch.cuda.empty_cache()

    def _make(self, requests: Sequence[Request]) -> list[Any]:
        """The frames of each request, or the error that it is quarantined with."""
        try:
            made = list(self._call(requests))
            if len(made) != len(requests):
                raise VideoError(
                    "the pipeline gave another number of videos",
                    found=len(made),
                    expected=f"{len(requests)}, one a caption",
                )
            return made
        except Exception as error:
            if blames_worker(error):
                raise
            if len(requests) == 1:
                return [error]
        # One request of a batch broke the call: each is made alone, and the bad one fails alone.
        return [frames for request in requests for frames in self._make([request])]

    def _commit(self, claim: Claim, request: Request, frames: Any) -> None:
        """Encode and commit a video, or quarantine its request. Runs in the encoder's thread.

        Args:
            claim: of the request.
            request: what was made.
            frames: of `_make`.
        """
        from synvita_data.video import encode_mp4

        with quarantining(claim, [request]):
            if isinstance(frames, Exception):
                raise frames
            pixels = to_uint8(frames)
            encode_mp4(pixels, self._settings["fps"], claim.path(VIDEO))
            made = dict(zip(("frames", "height", "width"), pixels.shape[:3], strict=True))
            config = {**self._config, **made}
            fields = video_fields(self._recipe, request, self._recipe.seed(request), config)
            if claim.commit({"videos": {VIDEO: fields}}):
                place_videos(self._out, self._store.validate(claim.key))

    def _call(self, requests: Sequence[Request]) -> Any:
        """One video a request: float [T, H, W, 3] in [0, 1], or what else the pipeline gives."""
        import torch

        for request in requests:
            if not request.caption.strip():
                raise CaptionError("there is no caption to make a video from", found=repr(request.caption))
        arguments = dict(self._arguments)
        negative = arguments.get("negative_prompt")
        if negative is not None:
            arguments["negative_prompt"] = [negative] * len(requests)
        generators = [cpu_generator(self._recipe.seed(request)) for request in requests]
        with torch.inference_mode(), fp32_latents(self._pipe), out_of_memory_advice():
            output = self._pipe(
                prompt=[request.caption for request in requests],
                generator=generators if len(generators) > 1 else generators[0],
                output_type="np",
                **arguments,
            )
        return output.frames


def call_arguments(kind: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a pipeline class for these settings, but for prompt and generator.

    Raises:
        SourceError: it is not a text-to-video pipeline, or lacks an argument.
    """
    parameters = inspect.signature(kind.__call__).parameters
    if "prompt" not in parameters:
        raise SourceError("the pipeline takes no prompt", found=kind.__name__, expected="text to video")
    required = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name not in ("self", "prompt", "kwargs", "args")
    ]
    asks_for_pictures = {"image", "video"} & set(list(parameters)[1:3]) and kind.__name__ not in _TEXT_TOO
    if required or asks_for_pictures:
        raise SourceError(
            "the pipeline is not made from text alone",
            found=f"{kind.__name__} wants {', '.join(required) or 'a picture or a video'}",
            expected="a text-to-video pipeline",
        )
    arguments = {}
    for key, names in ARGUMENTS.items():
        if settings.get(key) is not None and key != "fps":
            arguments[next((name for name in names if name in parameters), names[0])] = settings[key]
    arguments |= settings["call"]
    for name in arguments:
        if name not in parameters:
            raise SourceError(
                f"{kind.__name__} has no argument {name}",
                expected=", ".join(sorted(set(parameters) - {"self", "prompt", "generator", "latents"})),
            )
    if "frame_rate" in parameters:  # LTX is given the speed of time
        arguments["frame_rate"] = settings["fps"]
    return arguments


def _lay_out(pipe: Any, settings: Mapping[str, Any], placement: Mapping[str, Any], device: str) -> None:
    pipe.set_progress_bar_config(disable=True)
    for key, method in (("vae_tiling", "enable_tiling"), ("vae_slicing", "enable_slicing")):
        if settings[key]:
            enable = getattr(pipe.vae, method, None)
            if enable is None:
                raise SourceError(
                    f"this pipeline's VAE has no {key.removeprefix('vae_')}", fix=f"--set {key}=false"
                )
            enable()
    offload = placement["offload"]
    if offload == "none" or device == "cpu":  # on a CPU all is where it would be offloaded to
        pipe.to(device)
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    else:
        pipe.enable_sequential_cpu_offload(device=device)


def cpu_generator(seed: int) -> "torch.Generator":
    """The generator of one row."""
    import torch

    return torch.Generator("cpu").manual_seed(seed)


def noise_kind(pipe: Any) -> str:
    """How a pipeline's noise is drawn under `fp32_latents`: IN_FP32 or BY_PIPELINE, for the record."""
    prepare = getattr(pipe, "prepare_latents", None)
    if prepare is None or not set(inspect.signature(prepare).parameters) >= _NEEDED:
        return BY_PIPELINE
    return IN_FP32


@contextmanager
def fp32_latents(pipe: Any) -> Iterator[None]:
    """Inside the `with`, the pipeline draws its first latents in fp32 and casts them.

    A pipeline without such a method draws as it does without this.
    """
    if noise_kind(pipe) != IN_FP32:
        yield
        return
    import torch

    stock = pipe.prepare_latents
    signature = inspect.signature(stock)

    def prepare(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        dtype = call.arguments["dtype"]
        call.arguments["dtype"] = torch.float32
        latents = stock(*call.args, **call.kwargs)
        return latents.to(dtype) if isinstance(latents, torch.Tensor) and dtype is not None else latents

    object.__setattr__(pipe, "prepare_latents", prepare)
    try:
        yield
    finally:
        object.__delattr__(pipe, "prepare_latents")


def to_uint8(frames: Any) -> NDArray[np.uint8]:
    """One video of a pipeline (`output_type="np"`) as uint8 [T, H, W, 3].

    Args:
        frames: floats in [0, 1], uint8, or a list of either or of PIL pictures, [T, H, W, 3].

    Raises:
        VideoError: there are no frames, values are not finite (NaN is how an fp16 overflow shows), or the
            video is one flat colour.
    """
    array = np.asarray([np.asarray(frame) for frame in frames])
    if array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise VideoError("the pipeline gave no frames", found=f"{array.dtype} {list(array.shape)}")
    if array.dtype != np.uint8:
        finite = np.isfinite(array)
        if not finite.all():
            raise VideoError(
                "the pipeline gave values that are not numbers",
                found=f"{int((~finite).sum())} of {array.size} values are NaN or infinite",
                fix="Give --set dtype=bfloat16 or vae_dtype=float32: fp16 overflows in some models",
            )
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    low, high = int(array.min()), int(array.max())
    if high - low <= FLAT_RANGE:
        raise VideoError(
            "the video shows nothing but one flat colour",
            found=f"all values within {low} to {high}",
            expected="a picture",
            fix="Look at dtype, steps and guidance; a safety checker also gives black frames",
        )
    return array


@contextmanager
def out_of_memory_advice() -> Iterator[None]:
    """Turns running out of memory into an error of the worker that says what helps."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineError(
            "there is not enough memory for this model and these settings",
            found=first_line(error),
            fix="Give --set offload=model (or sequential), vae_tiling=true, fewer frames or a smaller size",
        ) from error
