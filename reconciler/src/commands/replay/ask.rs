//! Asking a person before much is applied.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use service::exit::ConfigError;

use super::Common;

/// Asks whether so many records may be applied, if they are more than needs no asking. Where nobody
/// can answer, that is bad usage.
pub(super) fn whether(at_most: u64, common: &Common) -> anyhow::Result<()> {
    if common.yes || at_most <= common.confirm_above {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let problem = format!(
            "is needed: up to {at_most} records are more than REPLAY_CONFIRM_ABOVE ({}), and there \
             is no terminal to ask on",
            common.confirm_above
        );
        return Err(ConfigError::new("--yes", problem).into());
    }
    let mut err = std::io::stderr().lock();
    write!(err, "Apply up to {at_most} records? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => bail!("nothing was done"),
    }
}
