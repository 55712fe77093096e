"""One or two processes that share a step's work: its micro-batches, then its parameters.

The weights, their gradients and the state of the optimizer are shared memory. Each process draws the step's samples itself
and takes the next micro-batch from a counter until none is left, so that neither waits while there is work; gradients add
up in buffers of its own, which are summed when half of the parameters are stepped by one process and half by the other.
Which process took what changes sums in their last bits, and nothing else: `check_team.py` compares.
"""

import multiprocessing
import os
import signal

import torch


def halves(named: list) -> list:
    """Names of the parameters in two sets of about the same work."""
    sets, work = (set(), set()), [0, 0]
    for name, p in sorted(named, key=lambda item: -item[1].numel()):
        # Muon's products cost by the side, everything else by the number.
        cost = p.numel() * (8 + (min(p.shape[-2:]) if p.ndim >= 2 and "embed" not in name and "lm_head" not in name else 0))
        least = work.index(min(work))
        sets[least].add(name)
        work[least] += cost
    return list(sets)


class Team:
    """`items(step)` gives the step's work as functions that add to gradients and return (loss, loss of the tower's heads,
    what the guide misses)."""

    def __init__(self, named, optimizer, mean, items, workers: int):
        self.named, self.optimizer, self.mean, self.items = list(named), optimizer, mean, items
        self.helper = None
        if workers == 1:
            self.buffers, self.share = [self._buffers()], [{name for name, _ in self.named}]
            return
        for name, p in self.named:
            p.data.share_memory_()
            for value in (mean.values[name], *optimizer.state[name].values()):
                value.share_memory_()
        self.buffers, self.share = [self._buffers().share() for _ in range(2)], halves(self.named)
        context = multiprocessing.get_context("fork")
        self.taken = context.Value("i", 0)
        self.pipe, other = context.Pipe()
        self.helper = context.Process(target=self._help, args=(other,), daemon=True)
        self.helper.start()
        other.close()

    def _buffers(self):
        return Buffers(self.named)

    def _take(self, count: int):
        """The next piece of work that nobody has taken."""
        if self.helper is None:
            yield from range(count)
            return
        while True:
            with self.taken.get_lock():
                at = self.taken.value
                self.taken.value += 1
            if at >= count:
                return
            yield at

    def _work(self, step: int, me: int):
        self.buffers[me].attach()
        items, sums = self.items(step), [0.0] * 3
        for i in self._take(len(items)):
            for k, value in enumerate(items[i]()):
                sums[k] += value
        return sums

    def _update(self, me: int, t: int, lr: float, adam_lr: float) -> None:
        for name, p in self.named:
            if name in self.share[me]:
                p.grad = self.buffers[0].of[name]
                for more in self.buffers[1:]:
                    p.grad.add_(more.of[name])
        self.optimizer.step(t, lr, adam_lr, self.share[me])
        self.mean.update(t, self.share[me])

    def _help(self, pipe) -> None:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_IGN)
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        self.pipe.close()
        self.helper = os.getpid()
        while True:
            try:
                task, *args = pipe.recv()
            except EOFError:
                return
            pipe.send(self._work(args[0], 1) if task == "work" else self._update(1, *args))

    def gradients(self, step: int):
        """The losses of the step; its gradients stay in the buffers."""
        if self.helper is None:
            return self._work(step, 0)
        self.taken.value = 0
        self.pipe.send(("work", step))
        mine = self._work(step, 0)
        return [a + b for a, b in zip(mine, self.pipe.recv())]

    def update(self, t: int, lr: float, adam_lr: float) -> None:
        if self.helper is not None:
            self.pipe.send(("update", t, lr, adam_lr))
        self._update(0, t, lr, adam_lr)
        if self.helper is not None:
            self.pipe.recv()


class Buffers:
    """A process's gradients, added to in place."""

    def __init__(self, named):
        self.named = named
        self.of = {name: torch.zeros_like(p) for name, p in named}

    def share(self):
        for value in self.of.values():
            value.share_memory_()
        return self

    def attach(self) -> None:
        for name, p in self.named:
            p.grad = self.of[name].zero_()
