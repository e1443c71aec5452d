"""The director: signs desired states, commands, acknowledgements and answers with the online key."""

from skerry_controller.director.director import Director
from skerry_controller.director.settings import DirectorSettings

__all__ = ["Director", "DirectorSettings"]
