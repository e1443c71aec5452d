"""What a runner is told first: what to load, and how."""

from skerry_agent.runtime.model import ModelFile, RunnerOptions
from skerry_agent.runtime.wire import Load


def load_message(model: ModelFile, options: RunnerOptions) -> Load:
    """The first message to a runner."""
    return Load(
        path=str(model.path),
        context_tokens=options.context_tokens,
        threads=options.thread_count,
        batch_tokens=options.batch_tokens,
        slots=options.slots,
        kv_tokens=options.kv_tokens,
        max_prefixes=options.max_prefixes,
        step_target_s=options.step_target_s,
        share_prefixes=options.share_prefixes,
        adapt_threads=options.adapt_threads,
        speculate=options.speculate,
        draft_path=str(options.draft or ""),
        max_celsius=options.max_celsius,
        nice=options.nice,
        max_growth_bytes=options.max_growth_bytes,
        model_sha256=model.sha256,
        prefix_folder=str(options.prefix_folder or ""),
        prefix_max_bytes=options.prefix_max_bytes,
        prefix_daily_bytes=options.prefix_daily_bytes,
    )
