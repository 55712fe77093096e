//! Stop strings in a stream of text pieces.

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes of buffer taken at the first piece: longer than any token, so that hardly any later piece allocates.
const ROOM: usize = 256;

/// Lets text through until a stop string appears, and holds back only what may be the beginning of one.
///
/// The string that is complete first wins, so the result does not depend on how the text is cut into pieces.
///
/// ```
/// # use puna_llama::sample::StopStrings;
/// let mut stop = StopStrings::new(["</end>"]);
/// assert_eq!(stop.push("done <").text, "done ");
/// assert_eq!(stop.push("3 </e").text, "<3 ");
/// let last = stop.push("nd> more");
/// assert_eq!((last.text, last.hit), ("", Some(0)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    /// Text that was pushed and not given out.
    held: String,
    /// Text that the last call gave out.
    ready: String,
    hit: Option<usize>,
}

/// What a [`StopStrings`] lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed<'a> {
    /// Text that is no part of a stop string.
    pub text: &'a str,
    /// Index of the stop string that was found, now or before; nothing follows it.
    pub hit: Option<usize>,
}

impl StopStrings {
    /// Looks for any of `stops`. Empty strings never match.
    pub fn new<S: Into<String>>(stops: impl IntoIterator<Item = S>) -> Self {
        Self { stops: stops.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Takes the next piece and gives what is safe to show.
    pub fn push(&mut self, piece: &str) -> Passed<'_> {
        self.ready.clear();
        if self.hit.is_some() {
            return Passed { text: "", hit: self.hit };
        }
        if self.ready.capacity() == 0 {
            self.ready.reserve(ROOM);
            self.held.reserve(ROOM);
        }
        self.held.push_str(piece);
        let first = |(index, stop): (usize, &String)| {
            let start = if stop.is_empty() { None } else { self.held.find(stop.as_str()) }?;
            Some((start + stop.len(), start, index))
        };
        let found = self.stops.iter().enumerate().filter_map(first).min();
        let safe = match found {
            Some((_, start, index)) => {
                self.hit = Some(index);
                start
            }
            None => {
                self.held.len() - self.stops.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0)
            }
        };
        self.ready.extend(self.held.drain(..safe));
        if self.hit.is_some() {
            self.held.clear();
        }
        Passed { text: &self.ready, hit: self.hit }
    }

    /// The generation has ended: gives what was held back.
    pub fn finish(&mut self) -> Passed<'_> {
        self.ready.clear();
        core::mem::swap(&mut self.ready, &mut self.held);
        Passed { text: &self.ready, hit: self.hit }
    }

    /// Forgets what was seen, for the next generation.
    pub fn reset(&mut self) {
        self.held.clear();
        self.hit = None;
    }
}

/// Length of the longest end of `text` that `stop` begins with, and goes on after.
fn overlap(text: &str, stop: &str) -> usize {
    let (text, stop) = (text.as_bytes(), stop.as_bytes());
    let most = text.len().min(stop.len().saturating_sub(1));
    // A match begins where `stop` does, at a whole character.
    (1..=most).rev().find(|&n| stop.starts_with(&text[text.len() - n..])).unwrap_or(0)
}
