"""Loads a model and puts an engine around it, as the first message asks; for the runner process only."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import llama_cpp
from llama_cpp import llama_cpp as lib

from skerry_agent.runtime.chat_template import ChatTemplate, TemplateBrokenError
from skerry_agent.runtime.cpu_times import CpuClock
from skerry_agent.runtime.draft import Draft
from skerry_agent.runtime.draft_setup import DraftRefusedError, load_draft
from skerry_agent.runtime.engine import THREAD_STACK_BYTES, Engine, EngineOptions
from skerry_agent.runtime.engine_ports import EngineBrokenError
from skerry_agent.runtime.growth_limit import data_bytes, limit_growth
from skerry_agent.runtime.heat_guard import HeatGuard
from skerry_agent.runtime.llama_context import ContextOptions, LlamaContext
from skerry_agent.runtime.llama_embed_context import LlamaEmbedContext
from skerry_agent.runtime.llama_model import LlamaModel
from skerry_agent.runtime.llama_score_context import LlamaScoreContext
from skerry_agent.runtime.memory_need import parked_tokens, sequences
from skerry_agent.runtime.prefix_store import PrefixStore, StoreLimits
from skerry_agent.runtime.prompt_reader import PromptReader
from skerry_agent.runtime.thread_governor import ThreadControl, ThreadGovernor
from skerry_agent.runtime.wire import FromRunner, Load, Ready

MIN_GUESSING_BATCH = 16
ENGINE_THREADS = 2
WORKER_STACK_BYTES = 16 * 1024 * 1024
"""Of each of llama.cpp's threads, at most: address space that counts as if it were memory."""
AUTO_KV_CONTEXTS = 2
"""Without a number of its own the cache holds so many contexts: one for answers, one for prefixes."""


def load_engine(
    load: Load,
    *,
    emit: Callable[[Sequence[FromRunner]], None],
    on_broken: Callable[[EngineBrokenError], None],
) -> tuple[Engine, Ready]:
    """Load what the message names.

    Raises:
        LoadRefusedError: The message says why.
    """
    model = LlamaModel(Path(load.path))
    before = data_bytes()
    context = LlamaContext(model, _context_options(load, model))
    context_bytes = data_bytes() - before
    if model.unshareable is not None and load.share_prefixes != "off":
        sys.stderr.write(f"prefixes of this model are not shared: {model.unshareable}\n")
    template = _template(model)
    draft, refused = _draft(load, model, context)
    threads = _thread_control(load, [context] if draft is None else [context, draft.model])
    engine = Engine(
        context,
        reader=PromptReader(context, template=template, bos_text=model.bos_text),
        emit=emit,
        on_broken=on_broken,
        open_embed_model=lambda: LlamaEmbedContext(
            model,
            context_tokens=context.context_tokens,
            threads=load.threads if threads is None else threads.threads,
            adapters=context.adapters,
        ),
        open_score_model=lambda: LlamaScoreContext(
            model,
            context_tokens=context.context_tokens,
            threads=load.threads if threads is None else threads.threads,
            adapters=context.adapters,
        ),
        threads=threads,
        options=EngineOptions(
            slots=load.slots,
            step_target_s=load.step_target_s,
            share_prefixes=load.share_prefixes,
            speculate=load.speculate and load.batch_tokens >= MIN_GUESSING_BATCH,
            parked_tokens=parked_tokens(context.context_tokens, _kept(load, model)),
        ),
        store=_prefix_store(load),
        draft=draft,
    )
    if load.max_growth_bytes:
        stacks = ENGINE_THREADS * THREAD_STACK_BYTES + load.threads * WORKER_STACK_BYTES
        # The context for vectors and the copies of prefixes come later: neither is bigger than the cache.
        limit_growth(load.max_growth_bytes + 2 * context_bytes + stacks)
    return engine, _ready(
        model, context, has_chat_template=isinstance(template, ChatTemplate), refused=refused
    )


def _context_options(load: Load, model: LlamaModel) -> ContextOptions:
    context_tokens = min(load.context_tokens, model.train_context_tokens or load.context_tokens)
    kept = _kept(load, model)
    return ContextOptions(
        context_tokens=context_tokens,
        kv_tokens=load.kv_tokens or context_tokens * AUTO_KV_CONTEXTS,
        batch_tokens=max(load.batch_tokens, load.slots),
        sequences=sequences(load.slots, kept),
        outputs=max(load.slots, MIN_GUESSING_BATCH),
        threads=load.threads,
    )


def _kept(load: Load, model: LlamaModel) -> int:
    """How many prefixes stay in the cache for others to begin with."""
    return load.max_prefixes if load.share_prefixes != "off" and model.unshareable is None else 0


def _draft(load: Load, model: LlamaModel, context: LlamaContext) -> tuple[Draft[LlamaContext] | None, str]:
    """The draft model that the message names, or why it is not used: the model answers without it too."""
    if not load.draft_path or not load.speculate or load.batch_tokens < MIN_GUESSING_BATCH:
        return None, ""
    if not context.shares:
        return None, f"the model cannot take guesses back: {model.unshareable}"
    try:
        path = Path(load.draft_path)
        return load_draft(path, model, context_tokens=context.context_tokens, threads=load.threads), ""
    except DraftRefusedError as error:
        return None, str(error)


def _thread_control(load: Load, contexts: Sequence[LlamaContext]) -> ThreadControl | None:
    if not load.adapt_threads and not load.max_celsius:
        return None

    def set_threads(threads: int) -> None:
        for context in contexts:
            context.set_threads(threads)

    clock = CpuClock()
    control = ThreadControl(
        ThreadGovernor(load.threads, clock.cores),
        clock if load.adapt_threads else None,
        set_threads,
        heat=HeatGuard(load.max_celsius, load.threads) if load.max_celsius else None,
    )
    control.after_step(0.0)
    return control


def _prefix_store(load: Load) -> PrefixStore | None:
    if not load.prefix_folder:
        return None
    library = Path(lib._lib._name).stat()  # noqa: SLF001 - the only way to the file that was loaded
    build = f"{llama_cpp.__version__} {library.st_size} {library.st_mtime_ns}"
    return PrefixStore(
        Path(load.prefix_folder),
        key=f"{load.model_sha256} f16 {build}",
        limits=StoreLimits(load.prefix_max_bytes, load.prefix_daily_bytes),
    )


def _template(model: LlamaModel) -> ChatTemplate | TemplateBrokenError | None:
    source = model.chat_template
    if not source:
        return None
    try:
        return ChatTemplate(source, bos_token=model.bos_text, eos_token=model.eos_text)
    except TemplateBrokenError as error:
        return error


def _ready(model: LlamaModel, context: LlamaContext, *, has_chat_template: bool, refused: str) -> Ready:
    return Ready(
        architecture=model.architecture,
        description=model.description,
        parameters=model.parameters,
        model_bytes=model.model_bytes,
        vocabulary=model.vocabulary,
        context_tokens=context.context_tokens,
        train_context_tokens=model.train_context_tokens,
        has_chat_template=has_chat_template,
        draft_refused=refused,
    )
