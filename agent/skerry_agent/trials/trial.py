"""What a candidate has to do in its runner, and what is measured meanwhile."""

from contextlib import aclosing

from skerry_agent.runtime import ChatMessage, FinishEvent, GenerateRequest, Runner, Sampling, TokenEvent
from skerry_agent.trials.checks import judge_answer, judge_figures, judge_pattern
from skerry_agent.trials.patterns import search
from skerry_agent.trials.perplexities import Perplexities
from skerry_protocol.manifest import Acceptance, AcceptanceCheck
from skerry_protocol.reported import Reason


async def run_trial(
    runner: Runner,
    acceptance: Acceptance,
    perplexities: Perplexities,
    incumbent_perplexity: float | None,
    figures: dict[str, float],
) -> Reason | None:
    """Run everything that is asked; returns why the candidate failed.

    Args:
        runner: The candidate's, with no other requests.
        acceptance: What is asked.
        perplexities: Measures them.
        incumbent_perplexity: That of the version that serves; None where there is none.
        figures: Filled with what is measured, also when something fails.

    Raises:
        As ``Runner.generate``.
    """
    for number, check in enumerate(acceptance.checks, start=1):
        wrong = await _run_check(runner, check, figures)
        if wrong is not None:
            return Reason("check_failed", f"acceptance check {number}: {wrong}")
    if acceptance.perplexity is not None:
        known = perplexities.known(runner.model)
        figures["perplexity"] = await perplexities.measure(runner, runner.model) if known is None else known
        if incumbent_perplexity is not None:
            figures["before_perplexity"] = incumbent_perplexity
    figures["rss_bytes"] = float(runner.rss_bytes)
    return judge_figures(acceptance, figures)


async def _run_check(runner: Runner, check: AcceptanceCheck, figures: dict[str, float]) -> str | None:
    """Run one check, and note the best figures of all."""
    text: list[str] = []
    async with aclosing(runner.generate(runner.model.ask(_request(runner, check)))) as events:
        async for event in events:
            if isinstance(event, TokenEvent):
                text.append(event.text)
            elif isinstance(event, FinishEvent):
                _note(event, figures)
                return await _judge(check, "".join(text), event.usage.completion_tokens)
    return "it ended without finishing its answer"


async def _judge(check: AcceptanceCheck, answer: str, tokens: int) -> str | None:
    wrong = judge_answer(check, answer, tokens)
    if wrong is not None or check.regex is None:
        return wrong
    return judge_pattern(check.regex, await search(check.regex, answer))


def _request(runner: Runner, check: AcceptanceCheck) -> GenerateRequest:
    greedy = Sampling(temperature=0.0)
    if runner.info.has_chat_template:
        messages = (ChatMessage("user", check.prompt),)
        return GenerateRequest(messages=messages, sampling=greedy, max_tokens=check.max_tokens)
    return GenerateRequest(prompt=check.prompt, sampling=greedy, max_tokens=check.max_tokens)


def _note(event: FinishEvent, figures: dict[str, float]) -> None:
    rate, first_ms = event.timings.decode_tokens_per_s, event.timings.first_token_ms
    figures["tokens_per_s"] = round(max(figures.get("tokens_per_s", 0.0), rate), 2)
    figures["first_token_ms"] = round(min(figures.get("first_token_ms", first_ms), first_ms), 1)
