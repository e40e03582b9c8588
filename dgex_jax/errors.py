"""Errors a user can mend. Their text is one line that names the file and the cause."""

LONGEST_TEXT = 2000


class DgexError(ValueError):
    """Base of every error that the command line shows as one line with exit code 2.

    Whatever a file puts into its text (ids, keys, names of elements), the text stays one line of
    printable characters and readable length.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(_printable(text))


class FormatError(DgexError):
    """A file that can't be read as what it should be (file, place and cause in the text)."""


class StudyError(DgexError):
    """A study file or an option that can't be used (file, key and cause in the text)."""


class PreparationError(DgexError):
    """Raw files that can't be made into one prepared study."""


class DivergedError(DgexError):
    """A training run whose errors are no longer finite (epoch and learning rate in the text)."""


def _printable(text: str) -> str:
    cut = _cut(text)
    if cut.isprintable():
        return cut
    return _cut(
        "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in cut)
    )


def _cut(text: str) -> str:
    """Leave out the middle of a long text: it begins with the file and may end with advice."""
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[: LONGEST_TEXT - 500]} … {text[-400:]}"


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
