"""The errors a person can fix. Everything else is a bug and may show a traceback."""


class MlxWanError(Exception):
    """One line saying what was given and what is accepted, and a hint with the way out.

    The command line prints `message` and `hint` and exits with `exit_code`
    (1: it failed, 2: it was asked for wrongly).
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None):
        super().__init__(message)
        self.message = " ".join(message.split())
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(MlxWanError):
    """The request itself cannot be met: a wrong value, an impossible combination."""

    exit_code = 2


class ModelError(MlxWanError):
    """A model folder or checkpoint is missing, incomplete, of the wrong family or damaged."""


class BadFileError(ModelError):
    """A file from outside is malformed or hostile; nothing of it was used."""


class MemoryPlanError(MlxWanError):
    """The plan cannot fit in memory; the hint names the nearest size that does."""


class GenerationError(MlxWanError):
    """A run went wrong: NaN or infinite latents, black or frozen frames."""
