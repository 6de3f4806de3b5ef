//! Tenants, and the keys that act for them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Grant, KeyHash, KeyId, RedirectUri, TenantId};

/// Whom webhooks belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// The operator's own id of it.
    pub id: TenantId,
    /// A name for people.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Tenants and keys, and all that the others may.
    Admin,
    /// Publish events.
    Publish,
    /// Webhooks, credentials, and the record of deliveries: to look at and to change.
    Manage,
    /// The same, to look at.
    Read,
    /// The same, to change.
    Write,
}

impl Scope {
    /// Whether who holds this scope may do what takes `needed`.
    pub fn covers(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Manage => matches!(needed, Self::Manage | Self::Read | Self::Write),
            Self::Publish | Self::Read | Self::Write => self == needed,
        }
    }
}

/// What is kept of an API key: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public half.
    pub id: KeyId,
    /// Whose it is; none: the operator's, good for every tenant.
    pub tenant: Option<TenantId>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// SHA-256 of the whole key.
    pub hash: KeyHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working, if ever.
    pub expires_at: Option<Timestamp>,
    /// What opened it, if it is a session, a token or a grant: it works only as long as that does.
    pub session_of: Option<KeyId>,
    /// Where users may be sent back to, if it is a client (RFC 6749).
    pub redirect_uris: Vec<RedirectUri>,
    /// If it is a grant: it opens nothing, but is exchanged for tokens.
    pub grant: Option<Box<Grant>>,
}

impl KeyRecord {
    /// Whether the key grants `scope`.
    pub fn grants(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|held| held.covers(scope))
    }
}
