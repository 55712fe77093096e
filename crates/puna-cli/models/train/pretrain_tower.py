"""Teaches the vision tower to see before the text model reads it, as the released models' tower was taught apart.

    python pretrain_tower.py DATA OUT.pt [--steps N]

Small linear heads read what is drawn (the digit, the colour and the shape, the printed digits, the bars) from a weighted
mean of a tile's 16 rows; they are no part of the model. A picture costs a tenth of what it costs with the text model around
it. `train.py --graft OUT.pt` puts the tower into a run, and goes on with the heads on a few pictures a step.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import tiles
from comparing import FOOT
from guide import Readers
from model import Fast, build, rms
from optim import Optimizer
from sample import rng
from skill_image import PALETTE, SHAPES, draw_bars, draw_digit, draw_number, draw_shape, number_text
from tokenizer import Prompt

COLOURS = list(PALETTE)
# Heads and their classes; the last class of a printed digit or a bar is "none there".
HEADS = {
    "digit": 10, "colour": 8, "shape": 6, "length": 4, "n0": 11, "n1": 11, "n2": 11, "n3": 11,
    "b0": 9, "b1": 9, "b2": 9, "b3": 9, "tallest": 8, "shortest": 8, "highest": 4,
    "t0": 5, "t1": 5, "t2": 5, "t3": 5,
}  # fmt: skip
# What each of the four rows at the foot of a chart says of the bar that stands there: how many are taller, and its colour. So
# that a question about a colour finds the height where it finds the colour.
LOCAL = {"rank": 4, "tint": 8}
NAMES = [*HEADS, *(f"{name}{j}" for name in LOCAL for j in range(4))]
BATCH = 64


KINDS = ["digit", "digit", "shape", "number", "number", "number", "bars"]
# For a tower that knows digits, shapes and colours.
HARDER = ["digit", "digit", "shape", *["bars"] * 4, *["number"] * 5]


def picture(r, data: Path, held_out: bool, kinds: list = KINDS):
    """(tile, {head: class})."""
    kind = r.choice(kinds)
    if kind == "digit":
        image, label, _ = draw_digit(r, data, held_out)
        truth = {"digit": label}
    elif kind == "shape":
        colour, shape = r.choice(COLOURS), r.choice(SHAPES)
        image = draw_shape(r, colour, shape)
        truth = {"colour": COLOURS.index(colour), "shape": SHAPES.index(shape)}
    elif kind == "number":
        text = number_text(r)
        image = draw_number(r, text)
        truth = {"length": len(text) - 1, **{f"n{i}": int(text[i]) if i < len(text) else 10 for i in range(4)}}
    else:
        colours = r.sample(COLOURS, r.choice([2, 2, 3, 3, 4]))
        image, heights = draw_bars(r, colours)
        top, low = heights.index(max(heights)), heights.index(min(heights))
        truth = {f"b{i}": COLOURS.index(colours[i]) if i < len(colours) else 8 for i in range(4)}
        truth |= {"tallest": COLOURS.index(colours[top]), "shortest": COLOURS.index(colours[low]), "highest": top}
        rank = [sum(h > height for h in heights) for height in heights]
        truth |= {f"t{i}": rank[i] if i < len(rank) else 4 for i in range(4)}
        for j in range(4):
            i = int((j + 0.5) * len(rank) / 4)
            truth |= {f"rank{j}": rank[i], f"tint{j}": COLOURS.index(colours[i])}
    # The last tile shows the whole picture.
    return tiles.cut(image)[2][-1], truth


class Heads(torch.nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.at = torch.nn.ParameterDict({name: torch.nn.Parameter(torch.zeros(16)) for name in HEADS})
        self.head_embed = torch.nn.ModuleDict({name: torch.nn.Linear(width, n) for name, n in HEADS.items()})
        self.local_embed = torch.nn.ModuleDict({name: torch.nn.Linear(width, n) for name, n in LOCAL.items()})

        # Those of `guide.py`, which read the text model.
        self.readers = Readers(width)

    def forward(self, rows):
        rows = rms(rows, 1e-5)
        pooled = lambda name: (self.at[name].softmax(0)[:, None] * rows).sum(1)
        out = {name: self.head_embed[name](pooled(name)) for name in HEADS}
        return out | {f"{n}{j}": self.local_embed[n](rows[:, FOOT + j]) for n in LOCAL for j in range(4)}


def batch(r, data: Path, held_out: bool, n: int, kinds: list = KINDS):
    drawn = [picture(r, data, held_out, kinds) for _ in range(n)]
    truth = {name: torch.tensor([t.get(name, -100) for _, t in drawn]) for name in NAMES}
    return torch.from_numpy(np.stack([tile for tile, _ in drawn])), truth


def seeing_loss(heads: Heads, rows, truth):
    """A picture's heads share its weight; several heads make up a number or a chart."""
    loss = 0
    for name, logits in heads(rows).items():
        if (truth[name] >= 0).any():
            loss = loss + F.cross_entropy(logits, truth[name], reduction="sum") / len(rows)
    return loss


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("data", type=Path)
    args.add_argument("out", type=Path)
    args.add_argument("--steps", type=int, default=1500)
    args = args.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = build(Prompt(args.data), 1)
    fast, heads = Fast(model), Heads(model.config.text_config.hidden_size)
    tower = {n: p for n, p in model.named_parameters() if "vision_model" in n or "multi_modal" in n}
    optimizer = Optimizer([*tower.items(), *heads.named_parameters()])
    see = lambda pixels: model.multi_modal_projector.linear_1(fast.tower(pixels))
    begin = time.time()
    for step in range(1, args.steps + 1):
        pixels, truth = batch(rng("tower", step), args.data, False, BATCH)
        loss = seeing_loss(heads, see(pixels), truth)
        loss.backward()
        # Warm up, stay, and come down over the last third.
        rate = min(1, step / 50, (args.steps - step) / (args.steps / 3) + 0.02)
        optimizer.step(step, 3e-3 * rate, 2e-3 * rate)
        if step % 100 == 0 or step == args.steps:
            with torch.no_grad():
                pixels, truth = batch(rng("tower watch"), args.data, True, 400)
                right = {}
                for name, logits in heads(see(pixels)).items():
                    known = truth[name] >= 0
                    right[name] = round(100 * (logits.argmax(-1) == truth[name])[known].float().mean().item(), 1)
            print(step, round(loss.item(), 3), f"{time.time() - begin:.0f} s", right, flush=True)
            torch.save(
                {
                    **{n: p.detach() for n, p in tower.items()},
                    **{f"heads.{n}": p.detach() for n, p in heads.named_parameters()},
                },
                args.out,
            )


if __name__ == "__main__":
    main()
