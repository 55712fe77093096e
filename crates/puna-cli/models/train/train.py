"""Trains puna-tiny; killed at any time it goes on from its last checkpoint exactly as if nothing had happened.

    python train.py DATA RUN [--steps N] [--decay N [--rate SHARE]] [--from CHECKPOINT] [--graft TOWER.pt] [--workers 2]

RUN holds `last.pt` (weights, optimizer, mean of weights, step), `log.jsonl` (losses) and `scores.jsonl` (held-out scores).
The learning rate warms up and then stays; `--decay N` lowers it to nothing over N steps from where the checkpoint is, and
writes `decayed.pt`. `--graft` puts in the tower that `pretrain_tower.py` has taught, once. What a step sees depends on the
seed and the step's number alone. SIGTERM and SIGINT end the run after the step, with a checkpoint.
"""

import argparse
import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import mixture
import tiles
from guide import Guide, Hints
from model import Fast, build
from optim import Mean, Optimizer
from pretrain_tower import HARDER, Heads, batch as pictures, seeing_loss
from sample import rng
from team import Team
from tokenizer import Prompt

SEED = 1
# Tokens of a micro-batch, at most.
MICRO = 1024
LR, ADAM_LR, WARMUP = 3e-3, 3e-3, 100
TOWER_RATE = 0.5
MEAN = 0.99
BALANCE = 0.01
# Pictures a step that the tower is taught by its own heads, and the weight of that.
PICTURES, SEEING = 96, 0.7
# Weight of `guide.py`.
GUIDING = 0.3
# Weights of a token of plain text, and of an answer of n tokens (each token: n ** -0.5).
TEXT_WEIGHT = 0.04


def tensors(batch: list):
    """Tokens one sample behind another, their lengths, the weights of the tokens they predict, and all tiles in order."""
    tokens, weights, pixels = [], [], []
    for ids, kinds, cut, *_ in batch:
        tokens += ids
        answer = max(1, kinds.count(2)) ** -0.5
        weights += [(0, TEXT_WEIGHT, answer)[kind] for kind in kinds[1:]] + [0]
        pixels += cut
    tiles = torch.from_numpy(np.stack(pixels)) if pixels else None
    return torch.tensor(tokens), [len(item[0]) for item in batch], torch.tensor(weights), tiles


def loss(fast: Fast, batch: list, total: float, step_tokens: int, readers=None):
    """A micro-batch's share of the step's loss, of the balance of experts, and of what `guide.py` misses."""
    tokens, lengths, weights, pixels = tensors(batch)
    where = weights.nonzero().squeeze(1)
    guide = Guide(batch, where, readers) if readers else None
    hidden, balance = fast.hidden(tokens, lengths, pixels, where, guide)
    each = F.cross_entropy(fast.logits(hidden), tokens[where + 1], reduction="none")
    missed = guide.value / total if guide else torch.zeros(())
    return (each * weights[where]).sum() / total, balance * len(tokens) / step_tokens, missed


def work(fast: Fast, heads: Heads, data: Path, prompt: Prompt, seen: dict):
    """What a step has to do, in pieces: see `team.py`. Its tokens are counted in `seen`."""
    hints = Hints(prompt)

    def encode(sample):
        encoded = prompt.encode(sample, tiles.cut)
        return *encoded, hints(sample, *encoded[:2])

    def look(step: int):
        pixels, truth = pictures(rng("see", SEED, step), data, False, PICTURES, HARDER)
        value = seeing_loss(heads, fast.model.multi_modal_projector.linear_1(fast.tower(pixels)), truth)
        (SEEING * value).backward()
        return 0.0, value.item(), 0.0

    def read(batch: list, total: float, step_tokens: int):
        value, balance, missed = loss(fast, batch, total, step_tokens, heads.readers)
        (value + BALANCE * balance + GUIDING * missed).backward()
        return value.item(), 0.0, missed.item()

    def items(step: int):
        samples = mixture.step_samples(SEED, step, data, encode)
        total = sum(tensors([s])[2].sum().item() for s in samples)
        step_tokens = sum(len(s[0]) for s in samples)
        seen["tokens"] = seen.get("tokens", 0) + step_tokens
        batches = mixture.micro_batches(samples, MICRO)
        return [lambda: look(step), *(partial(read, batch, total, step_tokens) for batch in batches)]

    return items


@torch.no_grad()
def right(fast: Fast, batch: list) -> list:
    """For each sample whether greedy decoding gives its last answer, and the mean loss of its text.

    An answer comes out token by token exactly if each of its tokens is the most likely one after those before it.
    """
    tokens, lengths, _, pixels = tensors(batch)
    hidden, _ = fast.hidden(tokens, lengths, pixels)
    out, at = [], 0
    for ids, kinds, _ in batch:
        last = len(kinds)
        while last and kinds[last - 1] != 2:
            last -= 1
        first = last
        while first and kinds[first - 1] == 2:
            first -= 1
        if last:
            logits = fast.logits(hidden[at + first - 1 : at + last - 1])
            out.append(bool((logits.argmax(-1) == tokens[at + first : at + last]).all()))
        else:
            logits = fast.logits(hidden[at : at + len(ids) - 1])
            out.append(F.cross_entropy(logits, tokens[at + 1 : at + len(ids)]).item())
        at += len(ids)
    return out


def held_out(data: Path, prompt: Prompt, each: int) -> dict:
    """A small held-out set of every skill, for watching."""
    sets: dict = {}
    for name in mixture.SHARES:
        r = rng("watch", name)
        while len(sets.setdefault(name, [])) < each:
            sample = mixture.make(name, r, data, 256, held_out=True)
            if name in ("text", "digit", "two", "recall", "copy") or (sample.held_out() and not sample.useless):
                sets[name].append(prompt.encode(sample, tiles.cut))
    return sets


def scores(fast: Fast, sets: dict) -> dict:
    out = {}
    for name, samples in sets.items():
        values = []
        for batch in mixture.micro_batches(samples, 4096):
            values += right(fast, batch)
        out[name] = round(sum(values) / len(values) * (1 if name == "text" else 100), 3)
    return out


def append(path: Path, record: dict) -> None:
    with open(path, "a") as file:
        file.write(json.dumps(record) + "\n")


def save(path: Path, step: int, start: int, model, heads: Heads, optimizer: Optimizer, mean: Mean) -> None:
    partial = path.with_suffix(".partial")
    state = {"step": step, "start": start, "model": model.state_dict(), "heads": heads.state_dict()}
    torch.save({**state, "optimizer": optimizer.state, "mean": mean.values}, partial)
    os.replace(partial, path)


@torch.no_grad()
def graft(fast: Fast, named: list, optimizer: Optimizer, mean: Mean, tower: dict, pixels) -> None:
    """Replaces the tower and its heads. The tower's rows get the size that the text model is used to."""
    model = fast.model
    size = lambda: model.multi_modal_projector.linear_1(fast.tower(pixels)).square().mean().sqrt()
    before = size()
    for name, p in named:
        if name in tower:
            p.copy_(tower[name])
    model.multi_modal_projector.linear_1.weight.mul_(before / size())
    for name, p in named:
        if name in tower:
            mean.values[name].copy_(p)
            for value in optimizer.state[name].values():
                value.zero_()


@torch.no_grad()
def tie(model, mean: Mean, share: float) -> None:
    """Adds a share of the embedding to the head: then one product of values and outputs copies every token, where else the
    way from each token's embedding to its row of the head is learned by itself."""
    head, embedding = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
    named = dict(model.named_parameters())
    for values in (named, mean.values):
        values[head].add_(values[embedding], alpha=share)


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("data", type=Path)
    args.add_argument("run", type=Path)
    args.add_argument("--steps", type=int, default=10**9)
    args.add_argument("--decay", type=int, default=0)
    args.add_argument("--rate", type=float, default=1, help="share of the learning rate that a decay begins with")
    args.add_argument("--from", dest="source", type=Path)
    args.add_argument("--graft", type=Path)
    args.add_argument("--minutes", type=float, default=5, help="between checkpoints")
    args.add_argument("--watch", type=int, default=200, help="steps between scores; 0: none")
    args.add_argument("--tie", type=float, default=0, help="adds this share of the embedding to the head, once")
    args.add_argument("--workers", type=int, choices=[1, 2], default=1, help="processes that share a step")
    args = args.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    args.run.mkdir(parents=True, exist_ok=True)

    prompt = Prompt(args.data)
    model = build(prompt, SEED)
    fast, heads = Fast(model), Heads(model.config.text_config.hidden_size)
    named = [*model.named_parameters(), *((f"heads.{name}", p) for name, p in heads.named_parameters())]
    optimizer, mean = Optimizer(named, tower_rate=TOWER_RATE), Mean(named, MEAN)
    last = args.run / "last.pt"
    source = args.source or (last if last.exists() else None)
    step = start = 0
    if source:
        state = torch.load(source, weights_only=True)
        step = state["step"]
        model.load_state_dict(state["model"])
        # Heads that a checkpoint does not know begin anew.
        heads.load_state_dict(heads.state_dict() | state.get("heads", {}))
        # A checkpoint of `warm.py` has neither: the optimizer begins anew at that step.
        optimizer.state |= state.get("optimizer", {})
        mean = Mean(named, MEAN)
        mean.values |= state.get("mean", {})
        start = state.get("start", 0)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, from step {step}", flush=True)
    sets = held_out(args.data, prompt, 40)
    if args.graft:
        pixels = tensors(sets["number"] + sets["shape"])[3]
        graft(fast, named, optimizer, mean, torch.load(args.graft, weights_only=True), pixels)
        print(f"grafted {args.graft} at step {step}", flush=True)
    if args.tie:
        tie(model, mean, args.tie)
        print(f"tied by {args.tie} at step {step}", flush=True)
    ended = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: ended.append(True))
    end = step + args.decay if args.decay else args.steps
    begin, saved, seen = step, time.time(), time.time()
    sums, counted = [0.0] * 3, {}
    team = Team(named, optimizer, mean, work(fast, heads, args.data, prompt, counted), args.workers)
    while step < end and not ended:
        sums = [a + b for a, b in zip(sums, team.gradients(step))]
        step += 1
        rate = min(1, (step - start) / WARMUP)
        if args.decay:
            rate = max(0.02, args.rate * (1 - (step - begin) / args.decay))
        team.update(step - start, LR * rate, ADAM_LR * rate)
        if step % 20 == 0:
            now, n = time.time(), min(20, step - begin)
            record = {
                "step": step,
                "loss": round(sums[0] / n, 4),
                "seeing": round(sums[1] / n, 3),
                "missed": round(sums[2] / n, 3),
                "tokens_per_s": round(counted["tokens"] / (now - seen)),
            }
            append(args.run / "log.jsonl", record)
            sums, seen, counted["tokens"] = [0.0] * 3, now, 0
        if args.watch and (step % args.watch == 0 or step == end):
            mean.swap()
            append(args.run / "scores.jsonl", {"step": step, "decay": args.decay, **scores(fast, sets)})
            mean.swap()
            seen, counted["tokens"] = time.time(), 0
        if time.time() - saved > args.minutes * 60:
            if not args.decay:
                save(last, step, start, model, heads, optimizer, mean)
            saved = time.time()
    save(args.run / "decayed.pt" if args.decay else last, step, start, model, heads, optimizer, mean)


if __name__ == "__main__":
    main()
