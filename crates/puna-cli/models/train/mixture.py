"""The mixture of skills: what a training step sees, drawn from the step's number alone."""

from pathlib import Path
from random import Random

import skill_copy
import skill_guard
import skill_text
import skill_tools
from sample import Sample, rng
from skill_chat import TRAINED, chat, drill
from skill_image import SKILLS as IMAGE_SKILLS

# Shares of samples, not of tokens: passages and policies are long, pictures and questions short.
SHARES = dict(
    text=3, recall=22, chat=28, drill=36, copy=12, tools=34, json=5, guard=5, judge=1,
    digit=8, shape=3, bars=8, number=11, two=12,
)  # fmt: skip
# At first what is short: it teaches the tower, the words and the forms of answers in the fewest tokens.
EARLY = dict(
    text=3, recall=10, chat=27, tools=4, json=6, guard=4, judge=4,
    digit=12, shape=10, bars=9, number=13, two=5,
)  # fmt: skip
EARLY_STEPS = 900
# Tokens of a step.
TOKENS = 3072
# How often tools and policies are as many as they get, in the held-out sets too, and not a few to save tokens.
LONG = 0.35
TEXT_ONLY = [name for name in SHARES if name not in IMAGE_SKILLS]


def draw(r: Random, data: Path, text_only: bool = False, longest: int = 256, shares: dict = SHARES) -> Sample:
    """One sample that is not of the held-out sets; passages have at most about `longest` tokens."""
    names = TEXT_ONLY if text_only else list(shares)
    while True:
        sample = make(r.choices(names, [shares[n] for n in names])[0], r, data, longest)
        if not (sample.held_out() or sample.useless):
            return sample


def make(name: str, r: Random, data: Path, longest: int, held_out: bool = False) -> Sample:
    if name in IMAGE_SKILLS:
        return IMAGE_SKILLS[name](r, data, held_out)
    if name == "text":
        return skill_text.text(r, data, held_out, longest if r.random() < 0.5 else longest // 2)
    if name == "recall":
        # Short ones teach what is asked, long ones how far it goes.
        length = int(32 * (longest / 32) ** r.random())
        return skill_text.recall(r, data, held_out, length)
    if name in ("tools", "guard") and not held_out and r.random() > LONG:
        longest = min(longest, 96)
    return dict(
        chat=lambda: chat(r) if held_out else chat(r, TRAINED, 0.28),
        drill=lambda: drill(r),
        copy=lambda: skill_copy.copy(r),
        judge=lambda: skill_guard.judge(r),
        tools=lambda: skill_tools.tools(r, longest, 0.12 if held_out else skill_tools.PAIRS),
        json=lambda: skill_tools.json_object(r),
        guard=lambda: skill_guard.guard(r, longest),
    )[name]()


def longest_passage(step: int) -> int:
    """The curriculum: passages grow with the steps."""
    stages = [(EARLY_STEPS, 96), (1350, 192), (4000, 384), (6000, 640)]
    return next((length for end, length in stages if step < end), 1024)


def step_samples(seed: int, step: int, data: Path, encode) -> list:
    """Encoded samples of one step."""
    r = rng("step", seed, step)
    out, total, longest = [], 0, longest_passage(step)
    shares = EARLY if step < EARLY_STEPS else SHARES
    while total < TOKENS:
        sample = draw(r, data, longest=longest, shares=shares)
        encoded = encode(sample)
        total += len(encoded[0])
        out.append(encoded)
    return out


def micro_batches(samples: list, limit: int) -> list:
    """Samples in batches of at most `limit` tokens, or of one longer sample."""
    batches, batch, size = [], [], 0
    for sample in samples:
        if batch and size + len(sample[0]) > limit:
            batches.append(batch)
            batch, size = [], 0
        batch.append(sample)
        size += len(sample[0])
    return [*batches, batch] if batch else batches
