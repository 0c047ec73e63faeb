//! Exit codes and the one line that a failing command prints.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | bad usage or configuration |
//! | 3 | done, and found something (gaps, discrepancies, a signature that does not verify) |

use std::fmt;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

/// How a command that did its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to report: exit code 0.
    Done,
    /// The work is done and found something that a person should look at: exit code 3.
    Found,
}

/// A setting that is missing or wrong: exit code 2, before anything is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    setting: String,
    problem: String,
}

impl ConfigError {
    /// `setting` is the environment variable's name; `problem` never quotes a secret.
    pub fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// Parses the command line and the environment. `--help` and `--version` answer and end with 0;
/// anything wrong prints one line and ends the process with 2.
pub fn parse<T: Parser>() -> T {
    parse_from(std::env::args_os())
}

/// [`parse`] with arguments that the caller has prepared, the program's name first.
pub fn parse_from<T: Parser>(args: impl IntoIterator<Item = std::ffi::OsString>) -> T {
    T::try_parse_from(args).unwrap_or_else(|error| {
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ) {
            error.exit()
        }
        eprintln!("{}", one_line(&error.render().to_string()));
        std::process::exit(2)
    })
}

/// clap's message without its usage block, on one line.
fn one_line(message: &str) -> String {
    let body = message.split("\n\n").next().unwrap_or(message);
    body.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Ends `main`: maps the result to an exit code and prints the error, if any, as one line.
pub fn code(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Found) => ExitCode::from(3),
        Err(error) => {
            let line = format!("{error:#}").replace('\n', " ");
            eprintln!("error: {line}");
            ExitCode::from(if error.downcast_ref::<ConfigError>().is_some() { 2 } else { 1 })
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn configuration_errors_end_with_2_and_others_with_1() {
        let config: anyhow::Result<Outcome> =
            Err(ConfigError::new("KAFKA_TOPIC", "is empty")).context("starting");
        assert_eq!(code(config), ExitCode::from(2));
        assert_eq!(code(Err(anyhow::anyhow!("broken"))), ExitCode::from(1));
        assert_eq!(code(Ok(Outcome::Found)), ExitCode::from(3));
        assert_eq!(code(Ok(Outcome::Done)), ExitCode::SUCCESS);
    }

    #[test]
    fn a_usage_error_is_one_line_without_the_usage_block() {
        let message = "error: the following required arguments were not provided:\n  \
                       --kafka-brokers <KAFKA_BROKERS>\n\nUsage: ingest serve\n\nFor more";
        assert_eq!(
            one_line(message),
            "error: the following required arguments were not provided: --kafka-brokers \
             <KAFKA_BROKERS>"
        );
    }
}
