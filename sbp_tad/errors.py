"""The base of every error a user can mend. Standard library only."""


class UserError(Exception):
    """Input, configuration or installation that the user can put right.

    Subclasses live beside the code that raises them and add the matching
    builtin (``ValueError``, ``OSError``, ``ImportError``). The message says
    what was expected, what came and what to do; the tools print it without a
    traceback and exit with status 2.
    """


class ConfigError(UserError, ValueError):
    """A config that cannot be read or built."""
