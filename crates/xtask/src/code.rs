//! Rust source without its comments and strings, so that rules look at code only.

/// `source` with comments, strings and characters blanked out; lines and columns stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let skip = comment(&bytes[at..]).or_else(|| string(bytes, at)).or_else(|| character(&bytes[at..]));
        match skip {
            Some(len) => {
                let end = (at + len).min(bytes.len());
                code.extend(bytes[at..end].iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }));
                at = end;
            }
            None => {
                code.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The part of `code` before its first inline test module.
pub(crate) fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests {").map_or(code, |at| &code[..at])
}

/// Lines (from 1) on which `word` stands in `code`, not as a part of a longer name.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone = |line: &str, at: usize| {
        let (before, after) = (line[..at].chars().next_back(), line[at + word.len()..].chars().next());
        let joins_before = before.is_some_and(name) && word.starts_with(name);
        let joins_after = after.is_some_and(name) && word.ends_with(name);
        !(joins_before || joins_after)
    };
    let has = |line: &str| line.match_indices(word).any(|(at, _)| stands_alone(line, at));
    code.lines().enumerate().filter(|(_, line)| has(line)).map(|(index, _)| index + 1).collect()
}

/// Length of the comment that `rest` begins with.
fn comment(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
    }
    Some(at)
}

/// Length of the string, raw or not, that begins at `at`.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest[0] == b'"' {
        return Some(quoted(rest, b'"'));
    }
    // A prefix is one only where no name ends in the same letters.
    if at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') {
        return None;
    }
    let prefix = rest.iter().take(2).take_while(|byte| matches!(byte, b'r' | b'b' | b'c')).count();
    let raw = rest[..prefix].contains(&b'r');
    let hashes = if raw { rest[prefix..].iter().take_while(|&&byte| byte == b'#').count() } else { 0 };
    if prefix == 0 || rest.get(prefix + hashes) != Some(&b'"') {
        return None;
    }
    let start = prefix + hashes;
    if !raw {
        return Some(start + quoted(&rest[start..], b'"'));
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &rest[start + 1..];
    let len = body
        .windows(end.len())
        .position(|window| window == end)
        .map_or(body.len(), |found| found + end.len());
    Some(start + 1 + len)
}

/// Length of the character that `rest` begins with; a lifetime is none.
fn character(rest: &[u8]) -> Option<usize> {
    if rest[0] != b'\'' {
        return None;
    }
    if rest.get(1) == Some(&b'\\') {
        return Some(quoted(rest, b'\''));
    }
    let text = std::str::from_utf8(&rest[..rest.len().min(6)])
        .or_else(|e| std::str::from_utf8(&rest[..e.valid_up_to()]));
    let mut chars = text.ok()?.char_indices().skip(2);
    let (at, c) = chars.next()?;
    (c == '\'').then_some(at + 1)
}

/// Length of a quoted text with escapes, quotes included.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blank() {
        let same_length = |source: &str, code: &str| {
            assert_eq!(code_only(source), code, "{source}");
            assert_eq!(source.len(), code.len());
        };
        same_length("a // b\nc", "a     \nc");
        same_length("a /* b /* c */ d */ e", "a                   e");
        same_length(r#"f("x\"y", 1)"#, "f(      , 1)");
        same_length(r###"f(r#"x"y"#, 1)"###, "f(        , 1)");
        same_length(r#"br"x\" y"#, "       y");
        same_length("'\"' 'a 'b'", "    'a    ");
        same_length(r"'\'' x", "     x");
        same_length("for\"x\"", "for   ");
        same_length("é(\"é\")", "é(    )");
    }

    #[test]
    fn words_stand_alone() {
        assert_eq!(lines_with("unsafe {\nunsafe_code\n}\n(unsafe)", "unsafe"), [1, 4]);
        assert_eq!(lines_with("eprintln!()\nprintln!()", "println!"), [2]);
    }

    #[test]
    fn test_modules_are_left_out() {
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests {\n b }"), "a\n");
        assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests;\nb"), "a\n#[cfg(test)]\nmod tests;\nb");
    }
}
