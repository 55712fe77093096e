"""What a skill's generator makes: a conversation, and the rule that keeps the held-out sets apart.

A conversation is a list of (role, parts); a part is a string, a PIL image or a list of tokens. Every assistant turn is an answer that is
trained; the last one is what a held-out item asks for.
"""

import json
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

# One generated sample in this many belongs to the held-out sets; training drops it.
HELD_OUT = 40


@dataclass
class Sample:
    skill: str
    # What is asked, as text: two samples with the same key are the same question.
    key: str
    turns: list = field(default_factory=list)
    # Plain text or tokens instead of turns: (text, is it an answer; None: nothing is learned from it).
    spans: list = field(default_factory=list)
    useless: bool = False
    # What pictures show, for `comparing.py`.
    shown: dict | list = field(default_factory=list)

    def held_out(self) -> bool:
        return crc32(self.key.encode()) % HELD_OUT == 0


def ask(skill: str, question, answer: str, system: str = "", key: str = "") -> Sample:
    """One question and its answer. `question` is a string or a list of parts."""
    parts = question if isinstance(question, list) else [question]
    turns = [("system", [system])] if system else []
    turns += [("user", parts), ("assistant", [answer])]
    text = key or json.dumps([system, [p for p in parts if isinstance(p, str)]])
    return Sample(skill, f"{skill}:{text}", turns)


def join(samples: list) -> Sample:
    """Several samples as one conversation; only the first may have a system message.

    Held out if its last question is; of no use for either set if only an earlier one is.
    """
    turns = [turn for sample in samples for turn in sample.turns]
    useless = any(sample.held_out() for sample in samples[:-1])
    return Sample(samples[-1].skill, samples[-1].key, turns, useless=useless)


def rng(*parts) -> Random:
    """A generator that depends on nothing but its arguments."""
    return Random(":".join(map(str, parts)))
