"""Answers from local models: one child process per loaded model, never llama.cpp in the daemon itself.

Use it as ``async with pool.lease(model) as runner`` and, inside,
``async with aclosing(runner.generate(request)) as events: async for event in events: …``.
"""

from skerry_agent.runtime import second_try
from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.errors import (
    GenerationFailedError,
    InvalidRequestError,
    ModelLoadError,
    ModelOutOfServiceError,
    ModelUnavailableError,
    NoChatTemplateError,
    NotEnoughMemoryError,
    PromptTooLongError,
    QueueFullError,
    RunnerCrashedError,
)
from skerry_agent.runtime.header_check import check_model_file
from skerry_agent.runtime.health import HealthCounts
from skerry_agent.runtime.heat_guard import hottest_zone
from skerry_agent.runtime.library import LlamaLibrary
from skerry_agent.runtime.memory_need import cache_tokens
from skerry_agent.runtime.model import (
    ModelFile,
    ModelInfo,
    ModelStatus,
    RunnerOptions,
    RuntimeLimits,
    RuntimeMetrics,
)
from skerry_agent.runtime.pool import ModelPool
from skerry_agent.runtime.requests import (
    AdapterFile,
    Candidate,
    ChatMessage,
    EmbedRequest,
    EmbedResult,
    FinishEvent,
    GenerateEvent,
    GenerateRequest,
    Sampling,
    Timings,
    TokenEvent,
    TokenLogprobs,
    Usage,
)
from skerry_agent.runtime.runner import Runner
from skerry_agent.runtime.service_watch import RuntimeEvent

__all__ = [
    "AdapterFile",
    "Candidate",
    "ChatMessage",
    "EmbedRequest",
    "EmbedResult",
    "EngineStats",
    "FinishEvent",
    "GenerateEvent",
    "GenerateRequest",
    "GenerationFailedError",
    "HealthCounts",
    "InvalidRequestError",
    "LlamaLibrary",
    "ModelFile",
    "ModelInfo",
    "ModelLoadError",
    "ModelOutOfServiceError",
    "ModelPool",
    "ModelStatus",
    "ModelUnavailableError",
    "NoChatTemplateError",
    "NotEnoughMemoryError",
    "PromptTooLongError",
    "QueueFullError",
    "Runner",
    "RunnerCrashedError",
    "RunnerOptions",
    "RuntimeEvent",
    "RuntimeLimits",
    "RuntimeMetrics",
    "Sampling",
    "Timings",
    "TokenEvent",
    "TokenLogprobs",
    "Usage",
    "cache_tokens",
    "check_model_file",
    "hottest_zone",
    "second_try",
]
