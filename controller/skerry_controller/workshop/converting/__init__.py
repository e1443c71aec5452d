"""Makes GGUF models of Hugging Face checkpoints, with llama.cpp's converter in an environment of its own."""

from skerry_controller.workshop.converting.checkpoint import Checkpoint, read_checkpoint
from skerry_controller.workshop.converting.converting import ConvertSettings, check_type, convert
from skerry_controller.workshop.converting.environment import (
    DISK_BYTES,
    DOWNLOAD_BYTES,
    Environment,
    EnvironmentSettings,
)

__all__ = [
    "DISK_BYTES",
    "DOWNLOAD_BYTES",
    "Checkpoint",
    "ConvertSettings",
    "Environment",
    "EnvironmentSettings",
    "check_type",
    "convert",
    "read_checkpoint",
]
