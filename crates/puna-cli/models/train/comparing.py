"""What a chart or two pictures show, at the rows where it is to be compared.

"Is the red bar taller?" and "Which digit is larger?" stayed a guess where the answers alone taught it: two values have to
come to one row. So a colour's row in a question looks at the foot of its bar and says the bar's rank, the second one looks
at the first and says which is taller; the end of the second picture does the same with two pictures. `guide.py` makes a
loss of it.
"""

from skill_image import PALETTE, SHAPES
from tokenizer import Prompt

COLOURS = list(PALETTE)
FOOT = 12


class Comparer:
    def __init__(self, prompt: Prompt):
        self.image, self.end = prompt.id["<|image|>"], prompt.id["<|image_end|>"]
        self.colours = {prompt.text(f" {c}")[0]: c for c in COLOURS}

    def __call__(self, sample, ids: list, kinds: list):
        """[(name of `guide.LOOKS`, row, the rows it is to look at)] and [(name of `guide.READS`, row, what it says)]."""
        if sample.skill == "bars":
            return self.chart(sample.shown, ids, kinds)
        return self.pair(sample.shown, ids, kinds) if sample.skill == "two" else ([], [])

    def chart(self, shown: dict, ids: list, kinds: list):
        """`shown`: each colour's rank, from left to right."""
        looks, reads, named = [], [], []
        foot, names = ids.index(self.image) + 1 + FOOT, list(shown)
        for t, i in enumerate(ids):
            if kinds[t] == 2:
                if kinds[t - 1] != 2 and len(named) == 2:
                    looks.append(("verdict", t - 1, named[1:]))
                named = []
            elif self.colours.get(i) in shown:
                colour = self.colours[i]
                n = names.index(colour)
                looks.append(("bar", t, [foot + j for j in range(4) if int((j + 0.5) * len(names) / 4) == n]))
                reads.append(("rank", t, shown[colour]))
                if named:
                    first = shown[self.colours[ids[named[0]]]]
                    looks.append(("other", t, named[:1]))
                    reads += [("other rank", t, first), ("taller", t, int(first < shown[colour]))]
                named.append(t)
        return looks, reads

    def pair(self, shown: list, ids: list, kinds: list):
        """`shown`: of each picture its digit, or its colour and shape."""
        first, second = (t for t, i in enumerate(ids) if i == self.end)
        reads, (a, b) = [], shown
        for kind, t, one in ("", first, a), ("", second, b), ("other ", second, a):
            if isinstance(one, int):
                reads.append((f"{kind}digit", t, one))
            else:
                reads += [(f"{kind}colour", t, COLOURS.index(one[0])), (f"{kind}shape", t, SHAPES.index(one[1]))]
        if isinstance(a, int):
            reads.append(("larger", second, int(a > b)))
        else:
            reads += [(f"same {name}", second, int(x == y)) for name, x, y in zip(("colour", "shape"), a, b)]
        answers = [t for t in range(1, len(ids)) if kinds[t] == 2 and kinds[t - 1] != 2]
        return [("other", second, [first]), *(("verdict", t - 1, [second]) for t in answers)], reads
