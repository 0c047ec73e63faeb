//! Why transactions are tried again.

/// Why a transaction must be tried again: the label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Two transactions waited for each other.
    Deadlock,
    /// PostgreSQL could not put two transactions into an order.
    Serialization,
    /// A lock was not available in time.
    LockTimeout,
    /// A statement took too long.
    StatementTimeout,
    /// The server has no memory, disk or connections left.
    Resources,
    /// The server is gone, going, or no longer the primary.
    Connection,
    /// No connection of the pool was free in time.
    Pool,
    /// Links reached further than what was locked.
    Links,
    /// The database had not applied what came before.
    Behind,
    /// Anything else.
    Other,
}

impl Cause {
    /// Every cause.
    pub(crate) const ALL: [Self; 10] = [
        Self::Deadlock,
        Self::Serialization,
        Self::LockTimeout,
        Self::StatementTimeout,
        Self::Resources,
        Self::Connection,
        Self::Pool,
        Self::Links,
        Self::Behind,
        Self::Other,
    ];

    /// The label of a metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Deadlock => "deadlock",
            Self::Serialization => "serialization",
            Self::LockTimeout => "lock_timeout",
            Self::StatementTimeout => "statement_timeout",
            Self::Resources => "resources",
            Self::Connection => "connection",
            Self::Pool => "pool",
            Self::Links => "links",
            Self::Behind => "behind",
            Self::Other => "other",
        }
    }

    /// What an error of Postgres' driver is.
    pub(super) fn of_sqlx(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        let code = match error {
            E::Database(database) => database.code().unwrap_or_default(),
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::WorkerCrashed => return Cause::Connection,
            E::PoolTimedOut => return Cause::Pool,
            _ => return Cause::Other,
        };
        match code.as_ref() {
            "40P01" => Cause::Deadlock,
            "55P03" => Cause::LockTimeout,
            "57014" => Cause::StatementTimeout,
            "25006" => Cause::Connection,
            code => match code.get(..2) {
                Some("40") => Cause::Serialization,
                Some("53") => Cause::Resources,
                Some("08" | "57") => Cause::Connection,
                _ => Cause::Other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_of_a_retry_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Cause::ALL.map(Cause::as_str).into();
        assert_eq!(names.len(), Cause::ALL.len());
        assert_eq!(Cause::of_sqlx(&sqlx::Error::PoolTimedOut), Cause::Pool);
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(Cause::of_sqlx(&sqlx::Error::Io(reset)), Cause::Connection);
        assert_eq!(Cause::of_sqlx(&sqlx::Error::RowNotFound), Cause::Other);
    }
}
