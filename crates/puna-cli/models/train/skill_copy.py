"""Tokens drawn at random and said again: nothing but copying helps, and every token of the vocabulary takes part.

Attention that finds what stood before and repeats it comes late from questions alone, where an answer copies a word or two;
names, echoes, JSON, tool calls and recall all wait for it.
"""

from random import Random

from sample import Sample
from tokenizer import SPECIALS, VOCAB

ORDINARY = VOCAB - len(SPECIALS)


def drawn(r: Random):
    if r.random() < 0.45:
        # Digits are tokens of their own: the last one says little about which comes next.
        numbers = [str(r.randrange(10 ** r.randint(1, 4))) for _ in range(1 + min(int(r.expovariate(0.6)), 9))]
        return r.choice(["", " ", ", "]).join(numbers)
    # Mostly one to five: longer ones teach nothing before these are copied, 490 steps with 3 to 60 did not.
    n = 1 + min(int(r.expovariate(0.45)), 11) if r.random() < 0.8 else int(3 * 8 ** r.random())
    if r.random() < 0.75:
        return [r.randrange(ORDINARY) for _ in range(n)]
    # A few tokens in ever new orders: the last one alone does not say what comes next.
    few = [r.randrange(ORDINARY) for _ in range(r.randint(4, 12))]
    return [r.choice(few) for _ in range(n)]


def copy(r: Random) -> Sample:
    """Asked for in the form of a question, or a stretch that begins again somewhere."""
    tokens = drawn(r)
    key = f"copy:{tokens}"
    if isinstance(tokens, str) or len(tokens) < 4 or r.random() < 0.7:
        q = r.choice(["Say: ", "Repeat after me: ", "Repeat: ", "Echo this: "])
        return Sample("copy", key, [("user", [q, tokens]), ("assistant", [tokens])])
    first = r.randrange(len(tokens) - 1) if r.random() < 0.5 else 0
    # Its first token says from where.
    return Sample("copy", key, spans=[(tokens + tokens[first : first + 1], None), (tokens[first + 1 :], True)])
