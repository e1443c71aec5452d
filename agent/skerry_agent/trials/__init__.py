"""Trials: a candidate must answer its acceptance checks on this device before it may serve."""

from skerry_agent.trials.checks import judge_answer, judge_pattern
from skerry_agent.trials.live_health import LiveHealth
from skerry_agent.trials.perplexities import Perplexities
from skerry_agent.trials.runner_trier import RunnerTrier

__all__ = ["LiveHealth", "Perplexities", "RunnerTrier", "judge_answer", "judge_pattern"]
