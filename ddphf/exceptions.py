"""The errors that ddphf raises on purpose, each with the exit code the command line returns."""

__all__ = ["ConfigError", "DdphfError", "FitError", "InputError", "ModelError", "UsageError"]


class DdphfError(Exception):
    """Root of every error that ddphf raises on purpose.

    Attributes:
        exit_code: What the command line returns for this error.

    Example:
        >>> issubclass(ConfigError, DdphfError), ConfigError("no such file").exit_code
        (True, 3)
    """

    exit_code = 3


class UsageError(DdphfError):
    """The command was asked for something it does not do (exit code 2)."""

    exit_code = 2


class InputError(DdphfError):
    """A file or array cannot be read, or holds values that mean nothing here (exit code 3)."""


class ConfigError(DdphfError):
    """The analysis file breaks its schema or its meaning (exit code 3)."""


class ModelError(DdphfError):
    """The statistical model is ill-defined (exit code 3)."""


class FitError(DdphfError):
    """The numbers failed: no certificate, or two calculations disagree (exit code 4)."""

    exit_code = 4
