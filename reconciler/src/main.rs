//! The reconciler's binary.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use service::exit;

fn main() -> ExitCode {
    exit::code(reconciler::run(exit::parse()))
}
