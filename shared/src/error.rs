//! What can go wrong, in the words of the domain. Each dialect writes it in its own shape.

use jiff::SignedDuration;

use crate::model::BadId;

/// Why an operation was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request cannot be read at all.
    #[error("{0}")]
    Malformed(String),
    /// One field's value is not acceptable.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field, as the client knows it.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A topic that no catalogue knows.
    #[error("no topic is called {0:?}")]
    UnknownTopic(String),
    /// No key, or not one of ours.
    #[error("the API key is missing, wrong or expired")]
    Unauthenticated,
    /// The key is good, but not for this.
    #[error("this key may not do that: {0}")]
    Forbidden(&'static str),
    /// There is no such thing, or it is another tenant's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The path is known, the method is not.
    #[error("this path does not take that method")]
    MethodNotAllowed,
    /// It would clash with something that is there.
    #[error("{0}")]
    Conflict(String),
    /// More than is accepted at once.
    #[error("{0}")]
    TooLarge(String),
    /// A quota is used up.
    #[error("{0}")]
    Quota(String),
    /// Too many calls, or tests; in so many seconds it may go on.
    #[error("too many calls; go on in {0} s")]
    Throttled(u64),
    /// A store or queue did not answer, or asked for patience: the same again may work.
    #[error("the service cannot do this right now; try again")]
    Unavailable(String),
    /// Our own fault: the detail is for the log, never for the client.
    #[error("something went wrong on our side")]
    Internal(String),
}

impl Error {
    /// A field that is not acceptable.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// Too many calls, for as long as this.
    pub fn throttled(wait: SignedDuration) -> Self {
        Self::Throttled(u64::try_from(wait.as_millis()).unwrap_or_default().div_ceil(1000))
    }

    /// For `map_err` on a parsed field.
    pub fn field(field: &'static str) -> impl Fn(BadId) -> Self {
        move |bad| Self::invalid(field, bad.0)
    }

    /// Whether doing the very same again can succeed.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Quota(_) | Self::Throttled(_) => true,
            Self::Malformed(_)
            | Self::Invalid { .. }
            | Self::UnknownTopic(_)
            | Self::Unauthenticated
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed
            | Self::Conflict(_)
            | Self::TooLarge(_)
            | Self::Internal(_) => false,
        }
    }

    /// What the log says of a fault of ours; none: the client's own mistake, which its answer explains.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Unavailable(detail) | Self::Internal(detail) => Some(detail),
            _ => None,
        }
    }
}
