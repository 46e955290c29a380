//! How a verb ends: what is printed, and which exit code says so.

use std::fmt;
use std::process::ExitCode;

/// The exit codes, as every help page shows them.
pub const HELP: &str = "\
Exit codes:
  0    done
  1    it did not work: refused by the controller, not as the policy says, or a fault of the system
  2    bad input: arguments, YAML, JSON, a name that does not exist
  3    a daemon cannot be reached
  4    this machine lacks something: root, a kernel feature, a program
  5    the policy has changed since the plan was made; nothing was applied
  6    `check`: an assertion does not hold
  7    `check --strict`, `lint --strict`: lint found something
  10   `plan --detailed-exitcode`: objects would change, traffic would not
  11   `plan --detailed-exitcode`: traffic would change
  130  interrupted

Data goes to standard output, talk to standard error.";

/// Why a verb failed, for the person who must act.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

/// What sort of failure it is; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It did not work.
    Failed,
    /// Bad input.
    Input,
    /// A daemon cannot be reached.
    Unreachable,
    /// This machine lacks something.
    Unable,
    /// A plan does not hold any more.
    Stale,
    /// An assertion does not hold.
    Untrue,
    /// Lint found something, and was asked to be strict.
    Untidy,
    /// Not a failure: what `plan --detailed-exitcode` found.
    Found(Difference),
    /// Ctrl-C.
    Interrupted,
}

/// What a plan would change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Objects, but no traffic.
    Objects,
    /// Traffic.
    Traffic,
}

impl Failure {
    /// A failure with a message in lower case and without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure { kind, message: message.into(), hint: None }
    }

    /// What sort of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(Kind::Failed, format!("{error:#}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Prints a failure to standard error and gives the exit code.
pub fn report(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    let is_quiet = matches!(failure.kind, Kind::Interrupted | Kind::Found(_));
    if !is_quiet || !failure.message.is_empty() {
        eprintln!("selvage: {failure}");
    }
    ExitCode::from(match failure.kind {
        Kind::Failed => 1,
        Kind::Input => 2,
        Kind::Unreachable => 3,
        Kind::Unable => 4,
        Kind::Stale => 5,
        Kind::Untrue => 6,
        Kind::Untidy => 7,
        Kind::Found(Difference::Objects) => 10,
        Kind::Found(Difference::Traffic) => 11,
        Kind::Interrupted => 130,
    })
}

/// Help and usage errors, as clap words them.
pub fn usage(error: &clap::Error) -> ExitCode {
    // A closed standard output is no reason to fail while printing help.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
