"""Where an answer's tokens stand in what was asked.

Copies, recall, calls and sorting all wait for heads that find a row and say its token; answers alone teach that late, while
the place of what is to be said again is known. `guide.py` makes a loss of it.
"""

from model import CHUNK
from skill_chat import NAMES
from tokenizer import SPECIALS, VOCAB, Prompt

SKILLS = ("recall", "chat", "system", "copy", "tools", "json")
# More places than these say too little; context is compared this far.
PLACES, CONTEXT = 3, 32
# How many rows before a row each of these heads looks.
BACK = {"before": 1, "second": 2, "third": 3}
# Questions whose answers say the same in the same order.
ECHOES = ("say: ", "repeat", "echo this: ")


def wordy(c: str) -> bool:
    return c.isalnum() or c == "_"


def spelled(prompt: Prompt, i: int) -> str:
    """A token in small letters; one of special tokens is a mark that nothing matches."""
    token = "\0" if i >= VOCAB - len(SPECIALS) else prompt.tokenizer.id_to_token(i)
    return token.replace("Ġ", " ").replace("Ċ", "\n").lower()


def laid_out(pieces: list):
    """Their text, where each begins in it, and the row of each character."""
    starts, row = [], []
    for i, piece in enumerate(pieces):
        starts.append(len(row))
        row += [i] * len(piece)
    return "".join(pieces), [*starts, len(row)], row


class Pointer:
    def __init__(self, prompt: Prompt):
        self.names = [f" {name.lower()}" for name in NAMES]
        self.pieces = [spelled(prompt, i) for i in range(VOCAB)]

    def __call__(self, sample, ids: list, kinds: list) -> list:
        """[(name of `guide.LOOKS`, row, the rows it is to look at)].

        Where an answer's token stands in the question too, the row that predicts it points there, its own row at what follows
        there, and these rows at those before them; in recall also to the name of whom it is about.
        """
        if sample.skill not in SKILLS:
            return []
        pieces = [self.pieces[i] for i in ids]
        (text, starts, row), out = laid_out(pieces), []
        answers = [i for i, kind in enumerate(kinds) if kind == 2 and kinds[i - 1] != 2]
        turn, near = 0, set()
        for a in answers:
            b = next((i for i in range(a, len(ids)) if kinds[i] != 2), len(ids))
            for i in range(a, b):
                places = self.places(text, starts, pieces[i], i, a, b, (starts[turn], starts[a]))
                if not places and turn:
                    places = self.places(text, starts, pieces[i], i, a, b, (0, starts[answers[0]]))
                if places and i == a and sample.skill == "recall":
                    # What is asked and what is stated have the name in common.
                    for t in (a - 1, row[places[0]]):
                        name = self.name(text, starts, row, t)
                        out += [("name", t, [name])] if name else []
                if places:
                    rows = sorted({row[p] for p in places})
                    # What is sorted is not known before a word's or number's end: 8 may be 80 up to the comma.
                    whole = {t for p in places for t in range(row[p], row[self.end(text, p) + 1] + 1)}
                    exact = sample.skill != "chat" or any(word in text[starts[turn] : starts[a]] for word in ECHOES)
                    out.append(("point", i - 1, rows if exact else sorted(whole)))
                    # What follows there goes on with a stretch or ends it.
                    size = starts[i + 1] - self.core(starts[i], pieces[i])
                    after = sorted({row[p + size] for p in places})
                    out.append(("follow", i, after))
                    near.update(after, [i])
            turn = b
        # Half of them: they are many. A digit alone says little about which of forty comes next, three of them do.
        back = [(what, t, [t - n]) for t in sorted(near)[::2] for what, n in BACK.items() if t % CHUNK >= n]
        return out + back

    def core(self, start: int, piece: str) -> int:
        """Where a piece's word begins, behind its space or quote."""
        return start + next((k for k, c in enumerate(piece) if wordy(c)), 0)

    def name(self, text: str, starts: list, row: list, t: int) -> int | None:
        """The row that ends the last name before row `t`."""
        near = text[max(0, starts[t] - 40) : starts[t]]
        found = max(((near.rfind(name) + len(name), name) for name in self.names if name in near), default=None)
        return found and row[starts[t] - len(near) + found[0] - 1]

    def end(self, text: str, p: int) -> int:
        """The last character of the word at `p`."""
        while wordy(text[p]) and wordy(text[p + 1]):
            p += 1
        return p

    def places(self, text: str, starts: list, piece: str, i: int, a: int, b: int, within: tuple) -> list:
        """Where in the characters `within` the token's word stands, or, if it is none, four characters before it and itself;
        of these where the most around it is the same."""
        if piece == "\0":
            return []
        first, end = starts[a], starts[b]
        at = self.core(starts[i], piece)
        low = high = at
        if wordy(text[at]):
            while low > first and wordy(text[low - 1]):
                low -= 1
            while high < end and wordy(text[high]):
                high += 1
        else:
            low, high = at - 4, at + len(piece)
            if low < first:
                return []
        key, found, most = text[low:high], [], 0
        p = text.find(key, within[0], within[1])
        while p >= 0:
            q = p + high - low
            if not wordy(text[at]) or not (p and wordy(text[p - 1]) or wordy(text[q])):
                back = forth = 0
                while back < CONTEXT and low - back > first and text[low - back - 1] == text[p - back - 1]:
                    back += 1
                while forth < CONTEXT and high + forth < end and text[high + forth] == text[q + forth] != "\0":
                    forth += 1
                if back + forth > most:
                    found, most = [], back + forth
                if back + forth == most and (wordy(text[at]) or text.startswith(piece, p + at - low)):
                    found.append(p + at - low)
            p = text.find(key, p + 1, within[1])
        return found if len(found) <= PLACES else []
