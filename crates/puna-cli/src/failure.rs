//! Why a command failed, as one line on stderr and an exit status.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

/// What commands return.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// The end of a command that could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Status 1: something is wrong with a file or the machine.
    Error(String),
    /// Status 2: something is wrong with the command line.
    Usage(String),
    /// Whoever read our output has gone: nothing to say, and nobody to say it to.
    Pipe,
}

impl Failure {
    pub(crate) fn new(message: impl Display) -> Self {
        Failure::Error(message.to_string())
    }

    pub(crate) fn usage(message: impl Display) -> Self {
        Failure::Usage(message.to_string())
    }

    /// Says it on stderr and gives the status.
    pub(crate) fn report(self) -> ExitCode {
        let (message, status) = match self {
            Failure::Error(message) => (message, 1),
            Failure::Usage(message) => (format!("{message} (see puna --help)"), 2),
            Failure::Pipe => return ExitCode::SUCCESS,
        };
        // Texts from files may hold anything; a terminal gets one line of it.
        let line: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _ = writeln!(io::stderr(), "error: {line}");
        ExitCode::from(status)
    }
}

impl From<puna::Error> for Failure {
    fn from(e: puna::Error) -> Self {
        Failure::new(e)
    }
}

impl From<puna_text::TextError> for Failure {
    fn from(e: puna_text::TextError) -> Self {
        Failure::new(e)
    }
}

impl From<puna_format::FormatError> for Failure {
    fn from(e: puna_format::FormatError) -> Self {
        Failure::new(e)
    }
}

/// Failures of writing to stdout; files are named with [`Context::at`] instead.
impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Failure::Pipe,
            _ => Failure::new(format_args!("output: {e}")),
        }
    }
}

/// Says which file it was.
pub(crate) trait Context<T> {
    fn at(self, place: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn at(self, place: impl Display) -> Result<T> {
        self.map_err(|e| Failure::new(format_args!("{place}: {e}")))
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(message) | Failure::Usage(message) => f.write_str(message),
            Failure::Pipe => f.write_str("the reader of the output has gone"),
        }
    }
}
