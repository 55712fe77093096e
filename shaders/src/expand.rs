//! The preprocessor: three directives, each alone on its line.
//!
//! - `#import path` puts the file `path.wgsl` there, the first time it is named. `{key}` in a path is replaced by the
//!   value given for `key`, as in `#import quant/{format}`.
//! - `#import path as SUFFIX` puts a second copy there, and of the files that it imports, in which every function and
//!   constant they declare, and the weight binding `w`, has `_SUFFIX` at the end of its name: a kernel of two matrices
//!   reads both with the same text.
//! - `#if NAME`, `#else`, `#endif` keep one of two parts, by whether `NAME` is among the flags. They nest.
//!
//! Everything else is WGSL and passes unchanged.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Why a shader could not be put together. All of them are mistakes in the shader files, and tests expand every kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpandError {
    /// An `#import` of a file that does not exist.
    NoFile {
        /// The path, its keys replaced.
        path: String,
    },
    /// A line that begins with `#` and is no directive.
    NoDirective {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
    },
    /// `#else` or `#endif` without `#if`, or an `#if` that is not closed in its file.
    Unbalanced {
        /// The file.
        path: String,
        /// The line, counted from 1; for an open `#if` the last one.
        line: usize,
    },
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile { path } => write!(f, "shader file {path}.wgsl does not exist"),
            Self::NoDirective { path, line } => {
                write!(f, "{path}.wgsl:{line}: expected #import, #if, #else or #endif")
            }
            Self::Unbalanced { path, line } => {
                write!(f, "{path}.wgsl:{line}: #if, #else and #endif do not pair up")
            }
        }
    }
}

impl core::error::Error for ExpandError {}

/// Puts together the file `path` from the files that `find` gives.
///
/// `flags` are the names for which `#if` holds; `keys` replace `{key}` in imported paths.
///
/// # Errors
/// See [`ExpandError`].
pub fn expand(
    path: &str,
    flags: &[&str],
    keys: &[(&str, &str)],
    find: &dyn Fn(&str) -> Option<&'static str>,
) -> Result<String, ExpandError> {
    let mut expander =
        Expander { flags, keys, find, seen: Vec::new(), copies: Vec::new(), out: String::new() };
    expander.file(path.to_string())?;
    Ok(expander.out)
}

struct Expander<'a> {
    flags: &'a [&'a str],
    keys: &'a [(&'a str, &'a str)],
    find: &'a dyn Fn(&str) -> Option<&'static str>,
    seen: Vec<String>,
    /// For each suffix, the files copied so far and the names in them that get it.
    copies: Vec<Copy>,
    out: String,
}

#[derive(Default)]
struct Copy {
    suffix: String,
    seen: Vec<String>,
    names: Vec<String>,
}

impl Expander<'_> {
    fn file(&mut self, path: String) -> Result<(), ExpandError> {
        // A file that imports itself, directly or not, is in `seen` already: the depth is bounded by the files there are.
        if self.seen.contains(&path) {
            return Ok(());
        }
        let Some(text) = (self.find)(&path) else {
            return Err(ExpandError::NoFile { path });
        };
        self.seen.push(path.clone());
        // For each open `#if`, whether its current part is kept.
        let mut kept: Vec<bool> = Vec::new();
        let mut lines = 0;
        for (i, line) in text.lines().enumerate() {
            lines = i + 1;
            let unbalanced = || ExpandError::Unbalanced { path: path.clone(), line: i + 1 };
            let mut words = line.trim().splitn(2, ' ');
            let keep = kept.iter().all(|&k| k);
            match (words.next().unwrap_or(""), words.next()) {
                ("#if", Some(name)) => kept.push(self.flags.contains(&name.trim())),
                ("#else", None) => {
                    let part = kept.last_mut().ok_or_else(unbalanced)?;
                    *part = !*part;
                }
                ("#endif", None) => {
                    kept.pop().ok_or_else(unbalanced)?;
                }
                ("#import", Some(path)) => {
                    if keep {
                        let path = self.keys.iter().fold(path.trim().to_string(), |path, (key, value)| {
                            path.replace(&alloc::format!("{{{key}}}"), value)
                        });
                        match path.split_once(" as ") {
                            Some((path, suffix)) => self.copy(path.trim().to_string(), suffix.trim())?,
                            None => self.file(path)?,
                        }
                    }
                }
                (word, _) if word.starts_with('#') => {
                    return Err(ExpandError::NoDirective { path, line: i + 1 });
                }
                _ => {
                    if keep {
                        self.out.push_str(line);
                        self.out.push('\n');
                    }
                }
            }
        }
        match kept.is_empty() {
            true => Ok(()),
            false => Err(ExpandError::Unbalanced { path, line: lines }),
        }
    }
}

impl Expander<'_> {
    fn copy(&mut self, path: String, suffix: &str) -> Result<(), ExpandError> {
        let known = self.copies.iter().position(|c| c.suffix == suffix);
        let mut copy = match known {
            Some(i) => self.copies.swap_remove(i),
            None => {
                Copy { suffix: suffix.to_string(), names: Vec::from(["w".to_string()]), ..Copy::default() }
            }
        };
        // What the copies import is seen by the copies alone.
        let before = core::mem::replace(&mut self.seen, core::mem::take(&mut copy.seen));
        let start = self.out.len();
        self.file(path)?;
        copy.seen = core::mem::replace(&mut self.seen, before);
        let text = self.out.split_off(start);
        copy.names.extend(text.lines().filter_map(declared).map(ToString::to_string));
        self.out.push_str(&renamed(&text, &copy.names, suffix));
        self.copies.push(copy);
        Ok(())
    }
}

/// The function or constant that a line at the outermost level declares.
fn declared(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("fn ").or_else(|| line.strip_prefix("const "))?;
    rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
}

/// `text` with a suffix at each of these names.
fn renamed(text: &str, names: &[String], suffix: &str) -> String {
    let mut out = String::with_capacity(text.len() * 9 / 8);
    let mut rest = text;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while let Some(start) = rest.find(word) {
        let (before, from) = rest.split_at(start);
        let (name, after) = from.split_at(from.find(|c| !word(c)).unwrap_or(from.len()));
        out.push_str(before);
        out.push_str(name);
        // A member of a vector, as in `v.w`, is not the binding.
        if !before.ends_with('.') && names.iter().any(|n| n == name) {
            out.push('_');
            out.push_str(suffix);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &str) -> Option<&'static str> {
        match path {
            "a" => {
                Some("one\n#import b/{x}\n#if P\n#if Q\nboth\n#else\nonly p\n#endif\n#else\nno p\n#endif\n")
            }
            "b/c" => Some("#import a\ntwo\n"),
            "open" => Some("#if P\n"),
            "closed" => Some("x\n#endif\n"),
            "typo" => Some("#iff P\n"),
            _ => None,
        }
    }

    #[test]
    fn imports_once_and_nested_conditions() {
        let run = |flags: &[&str]| expand("a", flags, &[("x", "c")], &files).unwrap();
        assert_eq!(run(&[]), "one\ntwo\nno p\n");
        assert_eq!(run(&["P"]), "one\ntwo\nonly p\n");
        assert_eq!(run(&["Q"]), "one\ntwo\nno p\n");
        assert_eq!(run(&["P", "Q"]), "one\ntwo\nboth\n");
    }

    #[test]
    fn copies_have_names_of_their_own() {
        let files = |path: &str| match path {
            "top" => Some("#import load\n#import load as up\n#import more as up\n"),
            "load" => Some("fn load(at: u32) -> u32 {\n    return w[at] + v.w;\n}\n"),
            "more" => Some("#import load\nconst N = 2u;\nfn two() { load(N); }\n"),
            _ => None,
        };
        let text = expand("top", &[], &[], &files).unwrap();
        let load = "fn load(at: u32) -> u32 {\n    return w[at] + v.w;\n}\n";
        let load_up = "fn load_up(at: u32) -> u32 {\n    return w_up[at] + v.w;\n}\n";
        let more_up = "const N_up = 2u;\nfn two_up() { load_up(N_up); }\n";
        assert_eq!(text, [load, load_up, more_up].concat());
    }

    #[test]
    fn mistakes_are_located() {
        let run = |path| expand(path, &["P"], &[("x", "d")], &files).unwrap_err();
        assert_eq!(run("a"), ExpandError::NoFile { path: "b/d".into() });
        assert_eq!(run("open"), ExpandError::Unbalanced { path: "open".into(), line: 1 });
        assert_eq!(run("closed"), ExpandError::Unbalanced { path: "closed".into(), line: 2 });
        assert_eq!(run("typo"), ExpandError::NoDirective { path: "typo".into(), line: 1 });
    }
}
