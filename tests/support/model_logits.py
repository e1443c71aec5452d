"""Logits of a token sequence, by llama.cpp or by transformers: a script, for processes of their own.

``python model_logits.py llama FILE ID…`` or ``python model_logits.py transformers FOLDER ID…``; prints a
list of logits for each token as JSON. It imports nothing but the package that it asks.
"""

import json
import os
import sys
from typing import Any


def by_llama(path: str, tokens: list[int]) -> Any:
    import llama_cpp  # noqa: PLC0415 - only one of both is there

    f32 = 0
    llm = llama_cpp.Llama(
        path, logits_all=True, n_ctx=64, type_k=f32, type_v=f32, flash_attn=False, verbose=False
    )
    llm.eval(tokens)
    return llm.scores[: len(tokens)].tolist()


def by_transformers(path: str, tokens: list[int]) -> Any:
    import torch  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - only one of both is there
    import transformers  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - the same

    model = transformers.AutoModelForCausalLM.from_pretrained(path, torch_dtype=torch.float32)
    with torch.inference_mode():
        return model.eval()(torch.tensor([tokens])).logits[0].tolist()


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ask = by_llama if sys.argv[1] == "llama" else by_transformers
    json.dump(ask(sys.argv[2], [int(word) for word in sys.argv[3:]]), answers)
    answers.close()
