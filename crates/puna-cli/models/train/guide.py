"""A loss that tells attention where to look and rows what to know. Training only: the model's own computation is the same.

`Fast.hidden` shows it the queries and keys of every layer, and what each layer leaves.
"""

import torch
import torch.nn.functional as F

from comparing import Comparer
from model import CHUNK, rms
from pointing import Pointer
from sorting import Sorter
from tokenizer import Prompt

# Heads that are told where to look, {layer: heads}: those that did so most before they were told.
LOOKS = {
    "point": {7: [2, 4]}, "follow": {3: [1, 4]},
    "before": {0: [5], 2: [6], 5: [7]}, "second": {0: [6], 2: [4]}, "third": {5: [6]},
    "name": {2: [4], 5: [3]}, "bar": {3: [3, 7]}, "other": {4: [4]}, "verdict": {6: [3]},
}  # fmt: skip
# What a row says behind a layer, by a linear head: (layer, classes).
READS = {
    "rank": (3, 4), "other rank": (4, 4), "taller": (5, 2),
    "digit": (2, 10), "colour": (2, 8), "shape": (2, 6),
    "other digit": (4, 10), "other colour": (4, 8), "other shape": (4, 6),
    "larger": (5, 2), "same colour": (5, 2), "same shape": (5, 2),
    "tens": (2, 10), "ones": (2, 10), "below": (5, 5),
}  # fmt: skip


class Hints:
    """Of a sample [(what, row, rows)] of LOOKS and [(what, row, class)] of READS."""

    def __init__(self, prompt: Prompt):
        self.pointer, self.comparer = Pointer(prompt), Comparer(prompt)
        self.sorter = Sorter(self.pointer.pieces)

    def __call__(self, sample, ids: list, kinds: list):
        looks, reads = self.comparer(sample, ids, kinds)
        return self.pointer(sample, ids, kinds) + looks, reads + self.sorter(sample, ids, kinds)


class Readers(torch.nn.Module):
    """The linear heads of READS."""

    def __init__(self, width: int):
        super().__init__()
        self.embed = torch.nn.ModuleDict({name: torch.nn.Linear(width, n) for name, (_, n) in READS.items()})


class Guide:
    """The hints of a batch as a loss.

    Per head -log(the attention on the right rows), per read row its cross entropy, weighted as the tokens of the sample's
    answers.
    """

    def __init__(self, batch: list, wanted, readers: Readers):
        """`batch` of (tokens, kinds, tiles, hints), `wanted` rows of all."""
        self.index = {t: n for n, t in enumerate(wanted.tolist())}
        self.count, self.value = sum(len(item[0]) for item in batch), torch.zeros(())
        self.looks, self.reads, self.made, self.readers = {}, {}, {}, readers
        at = 0
        for ids, kinds, _, (looks, reads) in batch:
            weight = max(1, kinds.count(2)) ** -0.5
            for what, t, rows in looks:
                local = all(layer % 4 != 3 for layer in LOOKS[what])
                first = t - t % CHUNK if local else 0
                if min(rows) >= first:
                    self.looks.setdefault(what, []).append((at + t, at + first, [at + p for p in rows], weight))
            for what, t, truth in reads:
                self.reads.setdefault(what, []).append((at + t, truth, weight))
            at += len(ids)

    def attention(self, layer: int, q, k) -> None:
        """q [rows, H, d] of all rows, in the last layer of the wanted ones; k [all rows, G, d]."""
        for what in self.looks:
            heads = LOOKS[what].get(layer)
            if not heads:
                continue
            own, hidden, others, weights = self.masks(what)
            queries = q[own if len(q) == self.count else torch.tensor([self.index[t] for t in own.tolist()])]
            keys = k[:, [h // (q.shape[1] // k.shape[1]) for h in heads]].permute(1, 2, 0)
            scores = queries[:, heads].transpose(0, 1) @ keys * q.shape[-1] ** -0.5 + hidden
            missed = scores.logsumexp(-1) - (scores + others).logsumexp(-1)
            self.value = self.value + (missed * weights).sum() / len(heads)

    def masks(self, what: str):
        """The rows of a look, minus infinity at what they do not see, and at what they are not to see, and their weights."""
        if what in self.made:
            return self.made[what]
        own, first, aims, weights = zip(*self.looks[what])
        own, first, at = torch.tensor(own), torch.tensor(first), torch.arange(self.count)
        seen = (at >= first[:, None]) & (at <= own[:, None])
        aim = torch.zeros(len(own), self.count, dtype=torch.bool)
        for i, rows in enumerate(aims):
            aim[i, rows] = True
        minus = lambda mask: torch.zeros(mask.shape).masked_fill_(~mask, float("-inf"))
        self.made[what] = own, minus(seen), minus(aim), torch.tensor(weights)
        return self.made[what]

    def stream(self, layer: int, h) -> None:
        """h [all rows, width] behind the layer."""
        for what, rows in self.reads.items():
            if READS[what][0] == layer:
                own, truth, weights = map(torch.tensor, zip(*rows))
                logits = self.readers.embed[what](rms(h[own], 1e-5))
                self.value = self.value + (F.cross_entropy(logits, truth, reduction="none") * weights).sum()
