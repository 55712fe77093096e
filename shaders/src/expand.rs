//! The preprocessor: three directives, each alone on its line.
//!
//! - `#import path` puts the file `path.wgsl` there, the first time it is named. `{key}` in a path is replaced by the
//!   value given for `key`, as in `#import quant/{format}`.
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
    let mut expander = Expander { flags, keys, find, seen: Vec::new(), out: String::new() };
    expander.file(path.to_string())?;
    Ok(expander.out)
}

struct Expander<'a> {
    flags: &'a [&'a str],
    keys: &'a [(&'a str, &'a str)],
    find: &'a dyn Fn(&str) -> Option<&'static str>,
    seen: Vec<String>,
    out: String,
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
                        self.file(path)?;
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
    fn mistakes_are_located() {
        let run = |path| expand(path, &["P"], &[("x", "d")], &files).unwrap_err();
        assert_eq!(run("a"), ExpandError::NoFile { path: "b/d".into() });
        assert_eq!(run("open"), ExpandError::Unbalanced { path: "open".into(), line: 1 });
        assert_eq!(run("closed"), ExpandError::Unbalanced { path: "closed".into(), line: 2 });
        assert_eq!(run("typo"), ExpandError::NoDirective { path: "typo".into(), line: 1 });
    }
}
