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
