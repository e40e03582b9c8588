"""Errors a user can mend. Their text is one line that names the file and the cause."""


class DgexError(ValueError):
    """Base of every error that the command line shows as one line with exit code 2."""


class FormatError(DgexError):
    """A file that can't be read as what it should be (file, place and cause in the text)."""


class StudyError(DgexError):
    """A study file or an option that can't be used (file, key and cause in the text)."""


class PreparationError(DgexError):
    """Raw files that can't be made into one prepared study."""


class DivergedError(DgexError):
    """A training run whose errors are no longer finite (epoch and learning rate in the text)."""


class Stopped(Exception):  # noqa: N818
    """Training was stopped on request, after a checkpoint; the text says how to go on.

    Attributes
    ----------
    signal_number
        The signal that asked for it.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
