//! Why an archive cannot be read.

use domain::archive::Finding;

use crate::fault::Fault;

/// Why something of the archive was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// It is damaged.
    #[error(transparent)]
    Damage(#[from] Box<Finding>),
    /// S3 does not answer, or refuses.
    #[error(transparent)]
    Fault(#[from] Fault),
}
