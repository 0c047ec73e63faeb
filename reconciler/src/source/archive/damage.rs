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

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damage(damage) => Self::halt("reading the archive", damage),
            ReadError::Fault(fault) => fault,
        }
    }
}
