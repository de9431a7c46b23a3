"""Base class of all errors that a user can correct. Standard library only."""


class UserError(Exception):
    """Fault of input, configuration or installation that the user can correct.

    Subclasses are defined beside the code that raises them and add the
    matching builtin (``ValueError``, ``OSError``, ``ImportError``). The
    message states the expected value, the found value and the correction. The
    tools print it without a traceback and exit with status 2.
    """


class ConfigError(UserError, ValueError):
    """A config that cannot be read or built."""
