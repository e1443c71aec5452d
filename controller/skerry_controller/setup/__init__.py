"""Setting up a new controller: the one time that keyring and data folder are made together."""

from skerry_controller.setup.initialise import NewController, Plan, initialise

__all__ = ["NewController", "Plan", "initialise"]
