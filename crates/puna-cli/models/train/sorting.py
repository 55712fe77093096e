"""Numbers and words of questions, at the rows that end them.

A number's value is known at the row behind it alone, where 8 is no longer the beginning of 80; and what is to be sorted has
to be compared somewhere. So that row says the number, and how many before it in its list are smaller. `guide.py` makes a
loss of it.
"""

import re

from pointing import laid_out

# Numbers up to 99, the items of a list, and what `guide.READS` counts up to.
NUMBER = re.compile(r"(?<![\w.])\d{1,2}(?![\w])")
LIST = re.compile(r"(?:sort|order)[^:\n\0]*: ([\w, ]+)")
MOST = 4


class Sorter:
    def __init__(self, pieces: list):
        """`pieces` of the vocabulary, as `Pointer` has them."""
        self.pieces = pieces

    def __call__(self, sample, ids: list, kinds: list) -> list:
        """[(name of `guide.READS`, row, what it says)]."""
        if sample.skill != "chat":
            return []
        (text, _, row), out = laid_out([self.pieces[i] for i in ids]), []
        for found in NUMBER.finditer(text):
            if found.end() < len(text):
                n, t = int(found.group()), row[found.end()]
                out += [("tens", t, n // 10), ("ones", t, n % 10)]
        for found in LIST.finditer(text):
            items = [(item.group(), row[found.start(1) + item.end()]) for item in re.finditer(r"\w+", found.group(1))]
            keys = [int(item) if item.isdigit() else item for item, _ in items]
            if len({type(key) for key in keys}) == 1:
                out += [("below", t, min(MOST, sum(k < keys[i] for k in keys[:i]))) for i, (_, t) in enumerate(items)]
        return out
