//! Where a session stands in its conversation, kept in step with its tokens.

use crate::Message;
use alloc::vec::Vec;

/// What a conversation expects next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Anything: there is no conversation, or the last turn is complete.
    #[default]
    Turn,
    /// Messages were pushed; an answer has to be opened before it is generated.
    Answer,
    /// An answer is open: generated tokens go on with it, and a new message must close it first.
    MoreAnswer,
}

/// The conversation up to some number of tokens.
#[derive(Clone, Copy, Debug)]
struct Mark {
    tokens: usize,
    messages: usize,
    expect: Expect,
}

/// The state of a conversation, which can go back to any place where a message or an answer ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    pub(crate) expect: Expect,
    /// All messages, answers included; only kept where a template renders the whole conversation each time.
    pub(crate) messages: Vec<Message>,
    /// The place of the first token of an answer that is not yet in `messages`.
    pub(crate) answer: Option<usize>,
    marks: Vec<Mark>,
}

impl Turns {
    /// Remembers this place.
    pub(crate) fn mark(&mut self, tokens: usize) {
        self.marks.retain(|mark| mark.tokens < tokens);
        self.marks.push(Mark { tokens, messages: self.messages.len(), expect: self.expect });
    }

    /// Goes back to the first `tokens` tokens. Between two marks a turn is cut in half, and what is left of it counts
    /// as complete.
    pub(crate) fn truncate(&mut self, tokens: usize) {
        self.marks.retain(|mark| mark.tokens <= tokens);
        let last = self.marks.last().copied();
        self.messages.truncate(last.map_or(0, |mark| mark.messages));
        self.answer = self.answer.filter(|&start| start < tokens);
        self.expect = match last {
            Some(mark) if mark.tokens == tokens => mark.expect,
            _ if self.answer.is_some() => Expect::MoreAnswer,
            _ => Expect::Turn,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_goes_back_to_what_was_expected_there() {
        let mut turns = Turns::default();
        turns.messages.push(Message::user("a"));
        turns.expect = Expect::Answer;
        turns.mark(10);
        turns.expect = Expect::MoreAnswer;
        turns.answer = Some(14);
        turns.truncate(16);
        assert_eq!((turns.expect, turns.answer), (Expect::MoreAnswer, Some(14)));
        turns.truncate(10);
        assert_eq!((turns.expect, turns.answer, turns.messages.len()), (Expect::Answer, None, 1));
        turns.truncate(4);
        assert_eq!((turns.expect, turns.messages.len()), (Expect::Turn, 0));
    }
}
