"""The Python face: Wan22Generator and its settings, a thin layer over what the commands use."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import GenerationError, MlxWanError, UsageError
from .studio.profiles import QualityProfile

if TYPE_CHECKING:
    from .pipeline import Networks
    from .studio.brand import Brand
    from .studio.produce import Production

__all__ = ["BatchError", "QualityProfile", "VideoConfig", "VideoFormat", "Wan22Generator"]

BRAND_FILE = "brand.toml"


class VideoFormat(StrEnum):
    """The formats that are delivered, by the names the commands use."""

    LINKEDIN_SQUARE = "square"
    LINKEDIN_WIDE = "wide"
    YOUTUBE_SHORTS = "shorts"


@dataclass(frozen=True)
class VideoConfig:
    """One video of `duration` seconds.

    `prompt` is what is shown. With `has_text_overlay` it is what is said: the title, over pictures
    of it. `quality_profile` None lets the message decide. `branding` is who signs: "brand.toml" is
    the brand of `mlx-wan brand`, another file ending in .toml is taken instead, anything else is a
    name, and None leaves the video unsigned. `output_filename` is a path to write to, or a name
    alone in the library; None makes one.
    """

    prompt: str
    duration: float = 10
    format: VideoFormat | str = VideoFormat.LINKEDIN_SQUARE
    quality_profile: QualityProfile | str | None = None
    has_text_overlay: bool = False
    branding: str | None = BRAND_FILE
    output_filename: str | None = None


class BatchError(GenerationError):
    """Some videos of a batch failed. `paths` has those that were made, None for the others;
    `errors` what went wrong, by position."""

    def __init__(self, paths: list[Path | None], errors: dict[int, MlxWanError]):
        first, error = next(iter(errors.items()))
        super().__init__(
            f"{len(errors)} of {len(paths)} videos failed; number {first + 1}: {error.message}",
            error.hint,
        )
        self.paths, self.errors = paths, errors


class Wan22Generator:
    """Makes finished, signed videos; each method returns the path of the MP4.

    `model` is a converted model's folder or name, None the active one. The same `seed` makes the
    same video. All methods raise MlxWanError kinds: UsageError for what cannot be made as asked.
    """

    def __init__(self, model: str | Path | None = None, seed: int | None = None):
        self.model = None if model is None else str(model)
        self.seed = seed

    def generate_linkedin_video(
        self,
        topic: str,
        duration: float = 10,
        format_type: str = "square",
        message_density: str | None = None,
        *,
        branding: str | None = BRAND_FILE,
        output_filename: str | None = None,
    ) -> Path:
        """A topic as the title over pictures of it; `format_type` is "square" or "wide".

        `message_density` is "high", "medium" or "low"; None lets the topic decide.
        """
        from .studio.social import linkedin_board

        board = linkedin_board(topic, duration, _name(format_type), self._picturing())
        return self._make(self._plan(board, message_density, branding, output_filename))

    def generate_youtube_short(
        self,
        hook: str,
        content: str,
        cta: str,
        duration: float = 30,
        message_density: str | None = None,
        *,
        branding: str | None = BRAND_FILE,
        output_filename: str | None = None,
    ) -> Path:
        """A vertical short: a hook, what there is to say, a call to action."""
        from .studio.social import youtube_board

        board = youtube_board(hook, content, cta, duration, self._picturing())
        return self._make(self._plan(board, message_density, branding, output_filename))

    def generate(self, config: VideoConfig) -> Path:
        """The video of `config`."""
        return self._make(self._planned(config))

    def batch_generate(self, configs: Iterable[VideoConfig]) -> list[Path]:
        """The videos of `configs`, in order; the model stays loaded between them.

        All are checked before the first is made. After one that fails the others are still made,
        then BatchError is raised, which has their paths.
        """
        from .pipeline import Networks
        from .studio.produce import output_path

        if not isinstance(configs, Iterable):
            raise UsageError(f"configs is a {type(configs).__name__}", "give a list of VideoConfig")
        productions: list[Production] = []
        for number, config in enumerate(configs, 1):
            try:
                production = self._planned(config)
                if production.output and production.output in {p.output for p in productions}:
                    raise UsageError(
                        f"output_filename {production.output} is that of another one",
                        "nothing is overwritten",
                    )
                output_path(production)  # a name that is taken is told before the work
                productions.append(production)
            except MlxWanError as error:
                error.message = f"video {number}: {error.message}"
                raise
        networks = Networks()
        paths: list[Path | None] = []
        errors: dict[int, MlxWanError] = {}
        for number, production in enumerate(productions):
            try:
                paths.append(self._make(production, networks))
            except MlxWanError as error:
                paths.append(None)
                errors[number] = error
        if errors:
            raise BatchError(paths, errors)
        return [path for path in paths if path is not None]

    def _planned(self, config: VideoConfig) -> "Production":
        from .studio.social import titled_board

        if not isinstance(config, VideoConfig):
            raise UsageError(
                f"{type(config).__name__} is no VideoConfig", "as in VideoConfig('...')"
            )
        picturing = self._picturing()
        board = titled_board(
            config.prompt,
            config.duration,
            _name(config.format),
            picturing,
            has_text=config.has_text_overlay,
        )
        return self._plan(
            board,
            config.quality_profile,
            config.branding,
            config.output_filename,
            has_text_overlay=config.has_text_overlay,
        )

    def _plan(
        self,
        board: Any,
        quality: str | None,
        branding: str | None,
        output_filename: str | None,
        **said: Any,
    ) -> "Production":
        from .studio.social import board_production

        output, stem = _output(output_filename)
        if stem is not None:
            board = replace(board, name=stem)
        return board_production(
            board,
            quality=None if quality is None else _name(quality),
            model=self.model,
            seed=self.seed,
            brand=_brand(branding),
            output=output,
            **said,
        )

    def _picturing(self) -> Any:
        from .studio.social import Picturing

        return Picturing(model=self.model, seed=self.seed)

    def _make(self, production: "Production", networks: "Networks | None" = None) -> Path:
        from .studio.produce import produce

        return produce(production, networks=networks).video


def _name(value: str) -> str:
    """An enum's value, or the text that was given; what it has to be is checked later."""
    return str(value.value) if isinstance(value, VideoFormat | QualityProfile) else value


def _output(filename: str | None) -> tuple[str | None, str | None]:
    """(path to write to, name in the library), of which at most one is set."""
    if filename is None:
        return None, None
    if not isinstance(filename, str | Path) or not str(filename):
        raise UsageError(f"output_filename is {filename!r}", "give a name or path ending in .mp4")
    path = Path(filename)
    if path.suffix.lower() != ".mp4":
        raise UsageError(f"output_filename is {str(filename)!r}", "videos are written as .mp4")
    return (None, path.stem) if path.name == str(filename) else (str(filename), None)


def _brand(branding: str | None) -> "Brand | None":
    from .studio.brand import load_brand

    if branding is None:
        return None
    if not isinstance(branding, str):
        raise UsageError(f"branding is {branding!r}", "give a name, a .toml file, or None")
    if branding == BRAND_FILE:
        return load_brand()
    if branding.endswith(".toml"):
        return load_brand(branding)
    return replace(load_brand(), name=branding)
