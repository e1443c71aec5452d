"""The values that the runtime is configured with and tells about itself."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from skerry_agent.runtime.engine_stats import EngineStats
from skerry_agent.runtime.requests import AdapterFile, EmbedRequest, GenerateRequest

KiB = 1024
MiB = 1024 * KiB

Request = TypeVar("Request", GenerateRequest, EmbedRequest)
RunnerState = Literal["unloaded", "queued", "loading", "ready", "crashed", "out_of_service"]
RunnerRole = Literal["serving", "candidate", "draining"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file on this device that was verified against its digest already.

    Attributes:
        path: The GGUF file; it must not change while a runner has it mapped.
        sha256: Lower-case hex digest of the whole file; the pool's key.
        label: What people call it (``name@version``); for logs, status and errors.
        adapters: LoRA adapters on it that requests mean; they are loaded into the model's own runner.
    """

    path: Path
    sha256: str
    label: str
    adapters: tuple[AdapterFile, ...] = ()

    def ask(self, request: Request) -> Request:
        """The request, for the model with its adapters."""
        if not self.adapters:
            return request
        return msgspec.structs.replace(request, adapters=self.adapters)


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """How one runner runs its model.

    Attributes:
        context_tokens: Prompt and answer together; bounded by what the model was trained on.
        threads: The most threads of the engine; 0 means as many as this process may use cores.
        batch_tokens: The most tokens per engine step.
        slots: Requests that run at the same time.
        kv_tokens: Cells of the cache, for all requests and kept prefixes together; 0 means two contexts.
        max_prefixes: How many prefixes are kept for requests to come.
        step_target_s: How long an engine step with pieces of prompts may take, in seconds: requests begin and
            end between two steps.
        share_prefixes: Who may begin with a prefix that somebody else's request left in the cache: all,
            requests of the same client, or nobody. What is shared is felt in the time that an answer takes.
        adapt_threads: Use fewer threads while other processes need the cores.
        huge_pages: Ask the kernel for huge pages for the cache and the buffers.
        speculate: Guess tokens from the text before where measurements say that it pays.
        draft: A second, smaller model of the same vocabulary, which guesses tokens for it; None for none.
        max_celsius: From this temperature of the device on the engine gets slower; 0 for no limit.
        nice: Added to the niceness of the process.
        max_growth_bytes: What the process may take over what it holds once it is loaded, and a second context
            for vectors; 0 for no limit.
        prefix_folder: Where prefixes that repeat are saved, to be there after a restart; None saves none.
            What is saved holds prompts in readable form (mode 0600).
        prefix_max_bytes: All saved prefixes together, of all models.
        prefix_daily_bytes: What may be written of them within 24 hours.
    """

    context_tokens: int = 2048
    threads: int = 0
    batch_tokens: int = 256
    slots: int = 8
    kv_tokens: int = 0
    max_prefixes: int = 32
    step_target_s: float = 0.08
    share_prefixes: Literal["all", "client", "off"] = "all"
    adapt_threads: bool = True
    huge_pages: bool = True
    speculate: bool = True
    draft: Path | None = None
    max_celsius: float = 0.0
    nice: int = 0
    max_growth_bytes: int = 256 * MiB
    prefix_folder: Path | None = None
    prefix_max_bytes: int = 256 * MiB
    prefix_daily_bytes: int = 256 * MiB

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        positive = min(self.context_tokens, self.batch_tokens, self.slots, self.step_target_s) > 0
        if (
            not positive
            or min(self.threads, self.kv_tokens, self.max_prefixes, self.nice, self.max_growth_bytes) < 0
        ):
            raise ValueError(f"impossible runner options: {self}")

    @property
    def thread_count(self) -> int:
        """The number of threads, with 0 resolved."""
        return self.threads or len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class RuntimeLimits:
    """Bounds and deadlines of the runtime; times are in seconds, sizes in bytes.

    Attributes:
        max_queue: Requests that may wait for one runner, besides those that run.
        max_loaded: Serving runners at the same time, 0 for as many as fit; candidates come on top.
        memory_budget_bytes: What all runners together may hold; 0 takes ``automatic_memory_share`` of what is
            available. Never more than is available.
        automatic_memory_share: Between 0 and 1.
        memory_check_interval_s: How often what the runners hold is measured.
        max_prompt_bytes: All text of one request.
        load_timeout_s: From starting the process to the model being ready.
        ping_interval_s: How often an idle or busy runner is asked whether it lives; 0 never asks.
        ping_timeout_s: How long it may take to answer before it is killed.
        stall_timeout_s: How long a running request may go without any progress before the runner is killed.
        drain_timeout_s: How long a retired runner may finish its requests.
        stop_timeout_s: From asking the process to end to killing it.
        keep_alive_s: An unused model is unloaded after this time: 0 at once, a negative number never. A
            request may say otherwise.
        crash_window_s: Crashes are counted within this time.
        max_crashes: With so many crashes in the window the model is out of service until it has passed.
        backoff_initial_s: Pause before the second restart in the window; it doubles with each further crash.
        backoff_max_s: The longest such pause.
        max_stderr_bytes: How much of a runner's stderr is kept for the crash report.
    """

    max_queue: int = 16
    max_loaded: int = 0
    memory_budget_bytes: int = 0
    automatic_memory_share: float = 0.8
    memory_check_interval_s: float = 5.0
    max_prompt_bytes: int = 1 * MiB
    load_timeout_s: float = 120.0
    ping_interval_s: float = 15.0
    ping_timeout_s: float = 15.0
    stall_timeout_s: float = 120.0
    drain_timeout_s: float = 60.0
    stop_timeout_s: float = 5.0
    keep_alive_s: float = 300.0
    crash_window_s: float = 300.0
    max_crashes: int = 5
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 30.0
    max_stderr_bytes: int = 16 * KiB


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a runner learned from the model that it loaded."""

    architecture: str
    description: str
    parameters: int
    model_bytes: int
    vocabulary: int
    context_tokens: int
    train_context_tokens: int
    has_chat_template: bool
    load_ms: float


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One runner, or one model whose runner is gone, as it is now.

    Attributes:
        queue_depth: Requests that wait; ``in_flight`` counts those and the one that runs.
        restarts: How often the pool had to start it again after a crash, since the daemon started.
        rss_bytes: Resident memory of the process, mapped model pages included; 0 without a process.
        engine: What its engine counted; None without a process.
        last_error: One line about the last crash, failed load or refusal; None when there was none.
        memory_bytes: What is counted against the budget for it.
        predicted_bytes: What the header predicts; 0 before it was looked at.
        measured_bytes: The most that its process was seen to hold; None before that.
        keep_alive_left_s: Time until it is unloaded, if nobody uses it; None: it is in use, or stays.
        pinned: It is never unloaded to make room, nor for being unused.
        leases: Requests that hold it.
        retry_after_s: Out of service for so long; 0 when it is not.
        load_fraction: How much of it is loaded, 0 to 1; None where that is not known.
    """

    sha256: str
    label: str
    state: RunnerState
    role: RunnerRole
    pid: int | None
    rss_bytes: int
    restarts: int
    queue_depth: int
    in_flight: int
    info: ModelInfo | None
    last_error: str | None
    engine: EngineStats | None = None
    memory_bytes: int = 0
    predicted_bytes: int = 0
    measured_bytes: int | None = None
    keep_alive_left_s: float | None = None
    pinned: bool = False
    leases: int = 0
    retry_after_s: float = 0.0
    load_fraction: float | None = None


@dataclass(frozen=True, slots=True)
class RuntimeMetrics:
    """Counters since the daemon started, over all models, and the latest figures.

    Times to the first token are in milliseconds as the caller saw them, with the wait in the queue; rates are
    of decoding alone. The ``last_`` and ``mean_`` figures are None before the first finished request.

    Unloads are counted by their reason: unused for its keep-alive time; asked for by a request; to make room
    for another model, for a trial, or for the rest of the device; replaced by another version.
    """

    requests: int
    requests_failed: int
    requests_cancelled: int
    requests_refused: int
    prompt_tokens: int
    completion_tokens: int
    last_tokens_per_s: float | None
    mean_tokens_per_s: float | None
    last_first_token_ms: float | None
    mean_first_token_ms: float | None
    queue_depth: int
    in_flight: int
    crashes: int
    loads: int
    requests_repeated: int = 0
    unloads_unused: int = 0
    unloads_requested: int = 0
    unloads_for_model: int = 0
    unloads_for_trial: int = 0
    unloads_for_device: int = 0
    unloads_replaced: int = 0
    loads_refused: int = 0
    loaded_models: int = 0
    loaded_bytes: int = 0
    memory_budget_bytes: int = 0
    out_of_service_models: int = 0
