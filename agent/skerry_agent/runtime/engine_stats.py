"""What an engine counts; the values go to the daemon as they are."""

import msgspec


class EngineStats(msgspec.Struct):
    """Counters since the runner started, and how things stand. Times are in seconds.

    Attributes:
        steps: Calls of ``llama_decode``.
        decode_s: Time in them.
        sample_s: Time in samplers.
        draft_s: Time in a draft model, which guesses tokens.
        rest_s: The rest of the steps' time: planning, text, messages.
        prompt_tokens: Tokens of prompts that were computed.
        cached_tokens: Tokens of prompts that shared prefixes held already.
        completion_tokens: Tokens that were sampled.
        drafted_tokens: Tokens that were guessed, from the text before or by a draft model.
        accepted_tokens: Those of them that turned out right.
        prefix_hits: Requests that began with a shared prefix.
        evicted_tokens: Tokens of prefixes that made room.
        preemptions: How often a running request had to wait again, since the cache was full.
        restored_tokens: Tokens of prefixes that came back from disk.
        active: Requests that hold a place now.
        waiting: Requests that wait for one.
        kv_tokens: Cells of the cache.
        kv_used: Cells that are held.
        cached_prefixes: Sequences that are kept for others to begin with.
        parked_tokens: Tokens of prefixes that lie outside the cache, in memory.
        threads: Threads now.
        thread_changes: How often that number changed.
        others_cores: Load of the device's other processes, in cores, as last measured.
        chunk_tokens: Prompt tokens in one step, as adapted.
        adapter_switches: How often the steps went on with other LoRA adapters.
        celsius: The device's temperature, when there is a limit to it.
    """

    steps: int = 0
    decode_s: float = 0.0
    sample_s: float = 0.0
    draft_s: float = 0.0
    rest_s: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    prefix_hits: int = 0
    evicted_tokens: int = 0
    preemptions: int = 0
    restored_tokens: int = 0
    active: int = 0
    waiting: int = 0
    kv_tokens: int = 0
    kv_used: int = 0
    cached_prefixes: int = 0
    parked_tokens: int = 0
    threads: int = 0
    thread_changes: int = 0
    others_cores: float = 0.0
    chunk_tokens: int = 0
    celsius: float = 0.0
    adapter_switches: int = 0
