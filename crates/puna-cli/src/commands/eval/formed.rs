//! Whether an answer is well-formed, right or wrong.

/// Whether it is JSON.
pub(super) fn json(answer: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(answer).is_ok()
}

/// Whether all of it is a Python list of calls, every argument of which has a name.
pub(super) fn calls(answer: &str) -> bool {
    let mut python = Python { rest: answer };
    python.calls().is_some() && python.rest.trim_start().is_empty()
}

/// Brackets within brackets.
const MAX_DEPTH: usize = 64;

/// Walks over Python expressions, as far as calls with literal arguments have them.
struct Python<'t> {
    rest: &'t str,
}

impl Python<'_> {
    fn take(&mut self, token: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(token)?;
        Some(())
    }

    /// Items up to `close`, with commas between them and perhaps one at the end.
    fn items(&mut self, close: char, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        while self.take(close).is_none() {
            item(self)?;
            if self.take(',').is_none() {
                return self.take(close);
            }
        }
        Some(())
    }

    fn calls(&mut self) -> Option<()> {
        // White space before an expression is an indentation, and one too many.
        self.rest = self.rest.strip_prefix('[')?;
        self.items(']', |python| {
            python.word()?;
            while python.take('.').is_some() {
                python.word()?;
            }
            python.take('(')?;
            python.items(')', |python| {
                python.word()?;
                python.take('=')?;
                python.value(0)
            })
        })
    }

    fn word(&mut self) -> Option<()> {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        self.rest = rest.get(end..)?;
        (!rest.starts_with(|c: char| c.is_ascii_digit()) && end > 0).then_some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => self.string(quote),
            '[' => self.take('[').and_then(|()| self.items(']', |python| python.value(depth + 1))),
            '(' => self.take('(').and_then(|()| self.items(')', |python| python.value(depth + 1))),
            '{' => self.take('{').and_then(|()| {
                self.items('}', |python| {
                    python.value(depth + 1)?;
                    python.take(':')?;
                    python.value(depth + 1)
                })
            }),
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => self.number(),
            _ => self.word(),
        }
    }

    fn number(&mut self) -> Option<()> {
        self.rest = self.rest.trim_start_matches(['-', '+']);
        let digits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
        let end = self.rest.find(|c| !digits(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        // Python writes no number with a zero before other digits but 0 itself.
        let whole = number.trim_start_matches('0').is_empty() || !number.starts_with('0');
        let plain = number.replace('_', "");
        (plain.parse::<u128>().is_ok() && whole || plain.contains(['.', 'e']) && plain.parse::<f64>().is_ok())
            .then_some(())
    }

    fn string(&mut self, quote: char) -> Option<()> {
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => _ = chars.next()?,
                '\n' => return None,
                c if c == quote => {
                    self.rest = self.rest.get(at + 1..)?;
                    return Some(());
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_calls_with_named_arguments() {
        for good in [
            "[]",
            "[f()]",
            "[get_weather(city='Paris', days=3)]",
            r#"[a(b="it\"s", c=True), d.e(f=[1, -2.5], g={"h": None,}, i=(1,), )]"#,
            "[a(b=x)]\n",
            "[ a ( b = 1e3 ) ]",
        ] {
            assert!(calls(good), "{good}");
        }
        for bad in [
            "",
            "f()",
            "[f(1)]",
            "[f(a=1)",
            "[f(a=1)] and",
            "[1]",
            "[f]",
            "[f(a=)]",
            "[f(a='x)]",
            " [f()]",
            "[f(a=01)]",
            "[f(a=1x)]",
            "[f(,)]",
            "[f() g()]",
            "[f(a='x\ny')]",
            "[.f()]",
            "[1f()]",
        ] {
            assert!(!calls(bad), "{bad}");
        }
        assert!(!calls(&format!("[f(a={})]", "[".repeat(100_000))), "deep nesting ends");
    }

    #[test]
    fn json_is_one_whole_value() {
        assert!(json("{\"a\": [1, true, null]}") && json(" 1 "));
        assert!(!json("{\"a\": 1} x") && !json("{a: 1}") && !json("") && !json("[1,]"));
    }
}
