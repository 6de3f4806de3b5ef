//! OAuth2 (RFC 6749) for dialects that document it. A client is an API key: its halves are `client_id` and
//! `client_secret`. What is given out are records beside the keys, so they end as keys do.
//!
//! - [`ask`] and [`settle`]: somebody allows a client something, with a key of his own, and a code is sent back
//! - [`issue`]: the client exchanges the code, then each refresh token, for tokens; or gets one for its own tenant

mod consent;
mod exchange;

use jiff::{SignedDuration, Timestamp};

pub use self::{
    consent::{ask, settle},
    exchange::issue,
};
use crate::{
    access::Principal,
    model::{Challenge, KeyId, RedirectUri, Scope, Secret},
};

/// One word of a dialect's scopes.
#[derive(Debug)]
pub struct Word {
    /// As it is written.
    pub name: &'static str,
    /// What it opens here; often nothing, for the dialect has more than webhooks.
    pub opens: &'static [Scope],
}

/// In what a dialect's OAuth2 differs from another's.
#[derive(Debug)]
pub struct Terms {
    /// The dialect's name.
    pub dialect: &'static str,
    /// Its scopes.
    pub words: &'static [Word],
    /// What is meant where none is named.
    pub default: &'static str,
    /// How long an access token lasts.
    pub lifetime: SignedDuration,
    /// The word that asks for a refresh token; none: whoever is allowed something gets one.
    pub refreshed_with: Option<&'static str>,
}

impl Terms {
    /// Whether what was allowed with this scope can be refreshed.
    fn refreshes(&self, scope: &str) -> bool {
        self.refreshed_with.is_none_or(|word| scope.split(' ').any(|own| own == word))
    }
}

/// The scope that a client asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    words: Vec<&'static Word>,
    is_default: bool,
}

impl Wish {
    /// Reads a scope (RFC 6749, 3.3): words with spaces between.
    pub fn read(terms: &'static Terms, text: Option<&str>) -> Result<Self, Refusal> {
        let mut words: Vec<&'static Word> = Vec::new();
        for name in text.unwrap_or(terms.default).split(' ').filter(|name| !name.is_empty()) {
            let word = terms.words.iter().find(|word| word.name == name);
            let word = word.ok_or(Refusal::InvalidScope("it has a word that is no scope of this API's"))?;
            if !words.iter().any(|known| known.name == word.name) {
                words.push(word);
            }
        }
        if words.is_empty() {
            return Err(Refusal::InvalidScope("it has no word"));
        }
        Ok(Self { words, is_default: text.is_none() })
    }

    /// Its words.
    pub fn words(&self) -> &[&'static Word] {
        &self.words
    }

    /// As it is written.
    pub fn text(&self) -> String {
        self.words.iter().map(|word| word.name).collect::<Vec<_>>().join(" ")
    }

    /// What it opens.
    fn scopes(&self) -> Vec<Scope> {
        let mut scopes: Vec<_> = self.words.iter().flat_map(|word| word.opens).copied().collect();
        scopes.sort();
        scopes.dedup();
        scopes
    }

    /// What a key's holder can allow of it: of what was asked in so many words, all or nothing, for what a client reads
    /// in the answer is to be so.
    fn within(&self, holder: &Principal) -> Option<Self> {
        let covered = |word: &&Word| word.opens.iter().all(|&scope| holder.covers(scope));
        let words: Vec<_> = self.words.iter().copied().filter(covered).collect();
        let suffices = words.len() == self.words.len() || (self.is_default && !words.is_empty());
        suffices.then_some(Self { words, is_default: self.is_default })
    }
}

/// Why a client does not get what it asks for, in the words of RFC 6749, 4.1.2.1 and 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something is missing or wrong.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The code or refresh token is none, or not any more.
    #[error("{0}")]
    InvalidGrant(&'static str),
    /// A scope that there is not, or that the key does not have.
    #[error("{0}")]
    InvalidScope(&'static str),
    /// The client may not do this.
    #[error("{0}")]
    UnauthorizedClient(&'static str),
    /// Another grant type than those served.
    #[error("the grant types are authorization_code, refresh_token and client_credentials")]
    UnsupportedGrantType,
    /// Another response type than `code`.
    #[error("the response type is code")]
    UnsupportedResponseType,
    /// Whoever was asked said no.
    #[error("access was denied")]
    AccessDenied,
}

impl Refusal {
    /// The value of `error`.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidGrant(_) => "invalid_grant",
            Self::InvalidScope(_) => "invalid_scope",
            Self::UnauthorizedClient(_) => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::AccessDenied => "access_denied",
        }
    }
}

/// A client's wish to be allowed something.
#[derive(Debug, Clone)]
pub struct ConsentRequest {
    /// The dialect's terms.
    pub terms: &'static Terms,
    /// Who asks.
    pub client: KeyId,
    /// Where the answer is to be sent.
    pub redirect_uri: String,
    /// What the client wants to hear again (RFC 6749, 4.1.1).
    pub state: Option<String>,
    /// What it asks for; or what is wrong with that, which the client is told once it is known to be one.
    pub asked: Result<Asking, Refusal>,
}

/// What a client asks to be allowed.
#[derive(Debug, Clone)]
pub struct Asking {
    /// The scope.
    pub wish: Wish,
    /// What it will prove when it redeems the code (RFC 7636).
    pub challenge: Option<Challenge>,
}

/// What somebody answers.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Whether he allows it.
    pub allows: bool,
    /// The key that shows whose account it is.
    pub key: Option<Secret>,
}

/// The question put to somebody.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who asks.
    pub client: KeyId,
    /// The name of the client's tenant.
    pub name: String,
    /// What for.
    pub wish: Wish,
    /// Why it is put again.
    pub again: Option<Again>,
}

/// Why a question is put again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// The key is missing, wrong or expired, or not a key at all.
    WrongKey,
    /// The key is the operator's, who is no tenant.
    NoTenant,
    /// The key may do less than is asked.
    TooLittle,
}

/// What a client is sent.
#[derive(Debug, Clone)]
pub struct SentBack {
    /// Where to.
    pub redirect_uri: RedirectUri,
    /// What it wants to hear again.
    pub state: Option<String>,
    /// The code.
    pub result: Result<Secret, Refusal>,
}

/// A client's wish for tokens.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// The dialect's terms.
    pub terms: &'static Terms,
    /// What it offers for them; or what is wrong with that.
    pub offer: Result<Offer, Refusal>,
}

/// What tokens are given for.
#[derive(Debug, Clone)]
pub enum Offer {
    /// A code (RFC 6749, 4.1.3).
    Code {
        /// The code.
        code: Secret,
        /// Where it was sent.
        redirect_uri: Option<String>,
        /// What its challenge was made of (RFC 7636).
        verifier: Option<Secret>,
    },
    /// A refresh token (RFC 6749, 6).
    Refresh {
        /// The token.
        token: Secret,
        /// A narrower scope than what was allowed; none: all of that.
        wish: Option<Wish>,
    },
    /// The client's own key, which the request came with (RFC 6749, 4.4).
    Nothing(Wish),
}

/// Tokens, shown now and never again.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// What opens the API.
    pub access: Secret,
    /// What gets the next tokens.
    pub refresh: Option<Secret>,
    /// What is allowed.
    pub scope: String,
    /// How long the access token lasts.
    pub lifetime: SignedDuration,
    /// When they were made.
    pub made_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    static TERMS: Terms = Terms {
        dialect: "test",
        words: &[
            Word { name: "look", opens: &[Scope::Read] },
            Word { name: "all", opens: &[Scope::Read, Scope::Write] },
            Word { name: "other", opens: &[] },
            Word { name: "stay", opens: &[] },
        ],
        default: "look all other",
        lifetime: SignedDuration::from_secs(60),
        refreshed_with: Some("stay"),
    };

    fn wish(text: Option<&str>) -> Wish {
        Wish::read(&TERMS, text).unwrap()
    }

    #[test]
    fn a_scope_is_words_each_of_them_known() {
        assert_eq!(wish(Some(" other  look other ")).text(), "other look");
        assert_eq!(wish(None).text(), TERMS.default);
        assert_eq!(wish(Some("all look")).scopes(), [Scope::Read, Scope::Write]);
        assert_eq!(wish(Some("other")).scopes(), []);
        for bad in [" ", "Look", "look,all", "look\tall", "look é"] {
            assert_eq!(Wish::read(&TERMS, Some(bad)).unwrap_err().code(), "invalid_scope", "{bad}");
        }
    }

    #[test]
    fn nobody_allows_more_than_he_may() {
        let within = |text, scopes: &[Scope]| {
            let holder = Principal::nobody().with(scopes);
            wish(text).within(&holder).map(|wish| wish.text())
        };
        let is = |text: &str| Some(text.to_owned());
        for all in [&[Scope::Admin][..], &[Scope::Manage], &[Scope::Read, Scope::Write]] {
            assert_eq!(within(Some("all other"), all), is("all other"));
            assert_eq!(within(None, all), is(TERMS.default));
        }
        for one in [Scope::Read, Scope::Write, Scope::Publish] {
            assert_eq!(within(Some("all other"), &[one]), None, "{one:?}");
        }
        assert_eq!(within(Some("look"), &[Scope::Read]), is("look"));
        assert_eq!(within(None, &[Scope::Read]), is("look other"), "nothing was asked in so many words");
        assert_eq!(within(None, &[Scope::Publish]), is("other"));
    }

    #[test]
    fn a_word_asks_for_a_refresh_token_where_there_is_one() {
        assert!(TERMS.refreshes("all stay"));
        assert!(!TERMS.refreshes("all") && !TERMS.refreshes("stayed"));
    }
}
