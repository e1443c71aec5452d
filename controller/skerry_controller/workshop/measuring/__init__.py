"""Measuring: how fast a model is on a machine, what it holds, and how well it answers."""

from skerry_controller.workshop.measuring.bench import bench_model
from skerry_controller.workshop.measuring.machine import this_machine, usable_cores
from skerry_controller.workshop.measuring.plan import BenchPlan, parse_numbers, usual_plan
from skerry_controller.workshop.measuring.prediction import Prediction, Rules, predict, rules_of_thumb
from skerry_controller.workshop.measuring.quality import evaluate_model

__all__ = [
    "BenchPlan",
    "Prediction",
    "Rules",
    "bench_model",
    "evaluate_model",
    "parse_numbers",
    "predict",
    "rules_of_thumb",
    "this_machine",
    "usable_cores",
    "usual_plan",
]
