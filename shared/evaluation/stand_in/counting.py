"""Token counts of the stand-in: an approximation, since it has no tokenizer."""

from __future__ import annotations

from collections import deque
from threading import Lock

BYTES_PER_TOKEN = 4
"English text and JSON come to about four bytes of UTF-8 a token with the usual tokenizers."
PICTURE_TOKENS = 85
"What OpenAI counts for a picture in low detail. The stand-in does not look at it."
CACHE_BLOCK = 128
"A repeated prefix counts in whole blocks of so many tokens, as OpenAI's prompt cache does."
REMEMBERED_PROMPTS = 32


def count_tokens(text: str) -> int:
    """The tokens of `text`: its bytes in UTF-8 divided by four, rounded up."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


class PrefixCache:
    """Which prompts were seen lately. It saves no work: it only counts what would be saved."""

    def __init__(self) -> None:
        self._seen: deque[str] = deque(maxlen=REMEMBERED_PROMPTS)
        self._lock = Lock()

    def cached_tokens(self, prompt: str) -> int:
        """Tokens of the longest beginning that `prompt` shares with a remembered one.

        In whole blocks of `CACHE_BLOCK`. The prompt is remembered from now on.
        """
        with self._lock:
            shared = max((_shared(prompt, seen) for seen in self._seen), default=0)
            self._seen.append(prompt)
        tokens = len(prompt[:shared].encode()) // BYTES_PER_TOKEN
        return tokens // CACHE_BLOCK * CACHE_BLOCK


def _shared(one: str, other: str) -> int:
    """Characters that both begin with, by bisection: slices compare faster than letters."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low
