"""Makes smaller models of those in the library, with llama.cpp's quantizer."""

from skerry_controller.workshop.quantizing.plan import Plan
from skerry_controller.workshop.quantizing.quantizing import QuantizeSettings, plan_quantization, quantize
from skerry_controller.workshop.quantizing.types import TYPES, QuantizationType, find_type

__all__ = [
    "TYPES",
    "Plan",
    "QuantizationType",
    "QuantizeSettings",
    "find_type",
    "plan_quantization",
    "quantize",
]
