//! Asking a person before much is done.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use service::exit::ConfigError;

/// What needs no asking.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unasked {
    /// Whether everything was agreed to.
    pub(crate) yes: bool,
    /// Most that is done without being agreed to.
    pub(crate) above: u64,
    /// The setting that says so.
    pub(crate) setting: &'static str,
}

/// Asks whether so many of these may be dealt with, if they are more than needs no asking: `doing` is
/// such as "Apply up to 7 records". Where nobody can answer, that is bad usage.
pub(crate) fn whether(doing: &str, count: u64, unasked: Unasked) -> anyhow::Result<()> {
    let Unasked { yes, above, setting } = unasked;
    if yes || count <= above {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let problem = format!(
            "is needed: {count} are more than {setting} ({above}), and there is no terminal to ask on"
        );
        return Err(ConfigError::new("--yes", problem).into());
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{doing}? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}
