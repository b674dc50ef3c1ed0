"""One hierarchy of errors. Programs print them as one line and exit with status 1."""


class WorldModelError(Exception):
    """Base of every error that wm_gym raises on purpose: its text names the value, the place and the remedy."""


class ConfigError(WorldModelError):
    """A setting is unknown, of the wrong type or out of range."""


class KeywordError(ConfigError, TypeError):
    """A keyword argument does not exist; a ``TypeError`` too, as Python's own would be and as TorchRL expects."""


class DataError(WorldModelError):
    """A recorded dataset is missing, damaged, inconsistent or too small."""


class ModelError(WorldModelError):
    """A model or policy folder is missing, damaged or does not fit what is asked of it."""


class RenderError(WorldModelError):
    """Frames cannot be drawn on this machine or for this robot."""


class ActionError(WorldModelError, ValueError):
    """An action is not finite or has the wrong shape. The environment's state is unchanged."""


class ObservationError(WorldModelError, ValueError):
    """A start observation, context or saved state is not finite or has the wrong shape."""
