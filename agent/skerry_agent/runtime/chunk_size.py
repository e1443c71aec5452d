"""How many tokens of prompts go into one step, so that nobody waits long for the next one. Pure."""

START_TOKENS = 64
MIN_TOKENS = 16
MULTIPLE = 16  # kernels work on blocks of rows
WEIGHT = 0.3


class ChunkSize:
    """Learns from the steps' times what a token of a prompt costs.

    Args:
        max_tokens: The most tokens of a step.
        target_s: How long a step may take, in seconds: a request joins or ends between two steps.
    """

    def __init__(self, max_tokens: int, target_s: float) -> None:
        self._max = max_tokens
        self._target_s = target_s
        self._token_s: float | None = None
        self._decode_s = 0.0

    def observe(self, seconds: float, *, decoding: int, prompt_tokens: int) -> None:
        """Take the time of a step, and what was in it."""
        if not prompt_tokens:
            self._decode_s += WEIGHT * (seconds - self._decode_s)
            return
        if prompt_tokens < min(MIN_TOKENS, self._max):
            return  # the fixed part of a step hides what the tokens cost
        spent = seconds - (self._decode_s if decoding else 0.0)
        each = max(spent, seconds * 0.2) / prompt_tokens
        self._token_s = each if self._token_s is None else self._token_s + WEIGHT * (each - self._token_s)

    def tokens(self, decoding: int, target_s: float | None = None) -> int:
        """How many tokens of prompts the next step takes beside so many decoding sequences.

        ``target_s`` is another target for this step.
        """
        room = self._max - decoding
        if self._token_s is None:
            return max(1, min(START_TOKENS, room))
        left = (target_s or self._target_s) - (self._decode_s if decoding else 0.0)
        wanted = int(left / self._token_s) // MULTIPLE * MULTIPLE
        return max(1, min(max(wanted, MIN_TOKENS), room))
