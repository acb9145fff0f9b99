//! What can go wrong, told apart once.

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;

use keyward_core::store::{BoxError, StoreError, Unique};
use sqlx::postgres::PgDatabaseError;

/// SQLSTATE that a sealed database answers changes with, see the migrations.
const SEALED: &str = "KW001";

/// What is said of an outcome that nobody waited for any longer.
pub const TOO_LATE: &str = "the database has not answered in time";

/// Why a statement failed, as far as it matters for what to do next.
#[derive(Debug)]
pub enum Fault {
    /// The statement did nothing, and may be sent again: on another connection where this one
    /// cannot be used for it.
    Again(Cause),
    /// The connection is gone. What was sent may have been done.
    Broken(Cause),
    /// The connection hangs. What was sent may have been done, or may yet be.
    Late,
    /// The statement was refused.
    Refused(StoreError),
}

impl Fault {
    /// There is no connection, for this reason.
    pub fn no_connection(error: &sqlx::Error) -> Self {
        Self::Refused(StoreError::Unavailable(Box::new(Cause::of(error))))
    }

    /// What the caller of the store is told.
    pub fn into_store_error(self) -> StoreError {
        match self {
            Self::Again(cause) | Self::Broken(cause) => StoreError::Unavailable(Box::new(cause)),
            Self::Late => unavailable(TOO_LATE),
            Self::Refused(error) => error,
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        fault.into_store_error()
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let error: &PgDatabaseError = error.downcast_ref();
                classify(error.code(), error.constraint(), Cause::of_database(error))
            }
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                Self::Broken(Cause::of(&error))
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::RowNotFound => {
                Self::Refused(StoreError::Corrupt(Box::new(Cause::of(&error))))
            }
            _ => Self::Refused(StoreError::Unavailable(Box::new(Cause::of(&error)))),
        }
    }
}

/// Reads what Postgres answered, by its SQLSTATE or the class of it (Postgres documentation, appendix
/// A), and by the constraint that was broken.
fn classify(code: &str, constraint: Option<&str>, cause: Cause) -> Fault {
    let unavailable = |cause| Fault::Refused(StoreError::Unavailable(Box::new(cause)));
    let corrupt = |cause| Fault::Refused(StoreError::Corrupt(Box::new(cause)));
    match (code, code.get(..2).unwrap_or_default()) {
        (SEALED, _) => Fault::Refused(StoreError::Sealed),
        ("23505", _) => match constraint {
            Some("api_keys_id_key") => Fault::Refused(StoreError::Conflict(Unique::Id)),
            Some("api_keys_digest_key") => Fault::Refused(StoreError::Conflict(Unique::Digest)),
            _ => corrupt(cause),
        },
        // A deadlock, a serialisation failure; a prepared statement whose result changed with the
        // schema, or that a connection pooler has lost.
        ("40P01" | "40001" | "0A000" | "26000", _) => Fault::Again(cause),
        // The statement was ended at its time limit, or by a person; or a permission was taken away,
        // and can be given back while we run.
        ("57014" | "42501", _) => unavailable(cause),
        // A primary was demoted: a new connection may find its successor. Or Postgres is going
        // down, coming up, or was told to end this connection; or has ended it, because it was
        // silent in a transaction.
        ("25006" | "25P03", _) | (_, "08" | "57") => Fault::Broken(cause),
        // Postgres found its own files damaged. Or data that it takes for invalid, a constraint of
        // ours, a table that is not there or other: no later attempt will do better.
        ("XX001" | "XX002", _) | (_, "22" | "23" | "42") => corrupt(cause),
        _ => unavailable(cause),
    }
}

/// An error with a cause of our own.
pub fn unavailable(cause: &'static str) -> StoreError {
    StoreError::Unavailable(cause.into())
}

/// What is told of an error: never the detail that Postgres adds, which repeats rows and therefore
/// digests.
#[derive(Debug, Clone)]
pub struct Cause(Cow<'static, str>);

impl Cause {
    fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::of_database(error.downcast_ref()),
            other => Self(other.to_string().into()),
        }
    }

    fn of_database(error: &PgDatabaseError) -> Self {
        Self(format!("Postgres: {} ({})", error.message(), error.code()).into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// Why a database could not be used: one sentence for the operator. What Postgres or the operating
/// system said is its source. It never holds the URL, in which a password may stand.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL cannot be read.
    #[error("the Postgres URL cannot be read: {0}")]
    Url(Cow<'static, str>),
    /// There is no server, or no way to it.
    #[error("Postgres cannot be reached at {place}")]
    Unreachable {
        /// Host and port, or the directory of the socket.
        place: String,
        /// What failed.
        source: BoxError,
    },
    /// The server and we agree on no way to encrypt the connection.
    #[error("no TLS connection to Postgres as sslmode demands")]
    Tls(#[source] BoxError),
    /// The server does not let this user in.
    #[error("Postgres does not let the user in: the name, the password or pg_hba.conf is wrong")]
    NotLetIn(#[source] BoxError),
    /// There is no database of that name.
    #[error(
        "Postgres has no database of that name: make it with CREATE DATABASE … ENCODING 'UTF8'"
    )]
    NoDatabase(#[source] BoxError),
    /// The database's encoding cannot hold every name.
    #[error("the database has the encoding {0}, and UTF8 is needed")]
    Encoding(String),
    /// The server is older than the features that are used.
    #[error("Postgres 13 or later is needed, and this is {0}")]
    TooOld(String),
    /// Transactions have another isolation level by default.
    #[error(
        "default_transaction_isolation is {0:?}, and \"read committed\" is needed: ALTER ROLE … SET it"
    )]
    Isolation(String),
    /// A standby, or a database that was made read-only.
    #[error("the database is read-only: the primary is needed")]
    ReadOnly,
    /// The role may not make or change the schema, or not use it.
    #[error("the role may not do that: GRANT CREATE ON DATABASE, or migrate with its owner's role")]
    NotPermitted(#[source] BoxError),
    /// It was to be read as it is, and a node of this version has never used it.
    #[error(
        "the database has not been migrated to this version yet: a node does that when it starts"
    )]
    NotMigrated,
    /// A later version of Keyward has migrated the database beyond what this one can work with.
    #[error(
        "the database was migrated by a newer Keyward: it needs schema version {needed}, and this \
         program knows {known}"
    )]
    Newer {
        /// The least version that a program must know.
        needed: i64,
        /// The version that this one knows.
        known: i64,
    },
    /// What was migrated is not what this version would have made.
    #[error("the schema keyward is not as Keyward made it")]
    Foreign(#[source] BoxError),
    /// Something else failed; the source says what.
    #[error("Postgres could not be set up")]
    Failed(#[source] BoxError),
}

impl ConnectError {
    /// Tells the error of a connection to `place`, or of the first statements on it.
    pub(crate) fn from_sqlx(error: &sqlx::Error, place: &str) -> Self {
        let source: BoxError = Box::new(Cause::of(error));
        let unreachable = |source| Self::Unreachable { place: place.to_owned(), source };
        match error {
            sqlx::Error::Io(error) => match error.kind() {
                // A certificate that is none, and one that is not believed.
                ErrorKind::InvalidInput | ErrorKind::InvalidData => Self::Tls(source),
                // A certificate that is not there: over TCP no other file is looked for.
                ErrorKind::NotFound if !place.starts_with('/') => Self::Tls(source),
                _ => unreachable(source),
            },
            sqlx::Error::Tls(_) => Self::Tls(source),
            sqlx::Error::Database(error) => match &*error.code().unwrap_or_default() {
                "28000" | "28P01" => Self::NotLetIn(source),
                "3D000" => Self::NoDatabase(source),
                "25006" => Self::ReadOnly,
                "42501" => Self::NotPermitted(source),
                "57P03" | "53300" => unreachable(source),
                _ => Self::Failed(source),
            },
            _ => Self::Failed(source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, constraint: Option<&str>) -> Fault {
        classify(code, constraint, Cause("Postgres: so it is".into()))
    }

    #[test]
    fn what_is_taken_is_told_by_its_constraint() {
        let taken = |constraint| told("23505", constraint);
        assert!(matches!(
            taken(Some("api_keys_id_key")),
            Fault::Refused(StoreError::Conflict(Unique::Id))
        ));
        assert!(matches!(
            taken(Some("api_keys_digest_key")),
            Fault::Refused(StoreError::Conflict(Unique::Digest))
        ));
        for other in [Some("key_changes_pkey"), None] {
            assert!(matches!(taken(other), Fault::Refused(StoreError::Corrupt(_))));
        }
    }

    #[test]
    fn a_sealed_database_is_told_from_one_that_is_down() {
        assert!(matches!(told("KW001", None), Fault::Refused(StoreError::Sealed)));
    }

    #[test]
    fn only_what_did_nothing_is_sent_again() {
        for code in ["40P01", "40001", "0A000", "26000"] {
            assert!(matches!(told(code, None), Fault::Again(_)), "{code}");
        }
    }

    #[test]
    fn a_server_that_goes_away_costs_the_connection() {
        for code in ["57P01", "57P02", "57P03", "57P05", "08006", "25006", "25P03"] {
            assert!(matches!(told(code, None), Fault::Broken(_)), "{code}");
        }
    }

    #[test]
    fn what_may_be_well_later_is_unavailable() {
        // Disk full, memory, connections, a lock, a time limit, a permission, an I/O error; and codes
        // that nobody has seen yet.
        for code in
            ["53100", "53200", "53300", "55P03", "57014", "42501", "58030", "ZZ999", "", "é"]
        {
            assert!(
                matches!(told(code, None), Fault::Refused(StoreError::Unavailable(_))),
                "{code:?}"
            );
        }
    }

    #[test]
    fn what_will_never_be_well_is_damage() {
        for code in ["22021", "23514", "42P01", "42703", "XX001"] {
            assert!(matches!(told(code, None), Fault::Refused(StoreError::Corrupt(_))), "{code}");
        }
    }
}
