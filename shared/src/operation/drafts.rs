//! Webhooks to be, and how they are to change.

use crate::{
    filter::Filter,
    model::{
        Attributes, Auth, ClientCertificate, Format, Header, InFlight, Limits, OnFailure, OwnRules, Rate,
        Secret, Signature, TopicPattern,
    },
};

/// A webhook to be.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The dialect of its messages.
    pub dialect: &'static str,
    /// A name for people.
    pub name: Option<String>,
    /// Where deliveries go, as written; none: it is polled.
    pub url: Option<String>,
    /// What it subscribes to.
    pub topics: Vec<TopicPattern>,
    /// Which of their events it gets; none: all.
    pub filter: Option<Filter>,
    /// In what form its messages are written.
    pub format: Format,
    /// What its dialect keeps of it for itself.
    pub attributes: Attributes,
    /// Headers on every delivery.
    pub headers: Vec<Header>,
    /// What its owner says of its delivery.
    pub rules: OwnRules,
    /// How much may go to it.
    pub limits: Limits,
    /// Whether it gets events of one ordering key one after the other.
    pub ordered: Option<OnFailure>,
    /// Whether it gets deliveries from the start.
    pub active: bool,
    /// A secret of the client's own, for the dialect's own signature.
    pub secret: Option<Secret>,
    /// By what it is signed from the start. Only for dialects that can show the secret to its owner.
    pub signed: Option<Signature>,
    /// What its deliveries have in `Authorization`.
    pub auth: Option<Auth>,
    /// What its receiver may ask for in the TLS handshake.
    pub certificate: Option<ClientCertificate>,
}

impl Draft {
    /// A webhook with nothing out of the ordinary: unnamed, active, JSON, no filter, no headers, no secret.
    pub fn new(dialect: &'static str, url: impl Into<Option<String>>, topics: Vec<TopicPattern>) -> Self {
        Self {
            dialect,
            name: None,
            url: url.into(),
            topics,
            filter: None,
            format: Format::default(),
            attributes: Attributes::new(),
            headers: Vec::new(),
            rules: OwnRules::default(),
            limits: Limits::default(),
            ordered: None,
            active: true,
            secret: None,
            signed: None,
            auth: None,
            certificate: None,
        }
    }
}

/// How what a webhook subscribes to changes.
#[derive(Debug, Clone)]
pub enum TopicChange {
    /// To these.
    All(Vec<TopicPattern>),
    /// Some come, and some go.
    Some {
        /// Those that come.
        add: Vec<TopicPattern>,
        /// Those that go.
        remove: Vec<TopicPattern>,
    },
}

impl TopicChange {
    /// Changes them.
    pub fn apply(&self, topics: &mut Vec<TopicPattern>) {
        match self {
            Self::All(new) => topics.clone_from(new),
            Self::Some { add, remove } => {
                topics.retain(|topic| !remove.contains(topic) && !add.contains(topic));
                topics.extend_from_slice(add);
                topics.sort();
            }
        }
    }
}

/// What is to change in a webhook; none: stays.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Its name; `Some(None)` takes it away.
    pub name: Option<Option<String>>,
    /// Where deliveries go, as written.
    pub url: Option<String>,
    /// What it subscribes to.
    pub topics: Option<TopicChange>,
    /// Which of their events it gets; `Some(None)`: all.
    pub filter: Option<Option<Filter>>,
    /// In what form its messages are written.
    pub format: Option<Format>,
    /// Those of its dialect's attributes that change.
    pub attributes: Attributes,
    /// Headers on every delivery.
    pub headers: Option<Vec<Header>>,
    /// What its owner says of its delivery, all of it.
    pub rules: Option<OwnRules>,
    /// What its deliveries have in `Authorization`; `Some(None)`: what its dialect puts there.
    pub auth: Option<Option<Auth>>,
    /// What its receiver may ask for in the TLS handshake; `Some(None)` takes it away.
    pub certificate: Option<Option<ClientCertificate>>,
    /// By what it is signed: what signs it now goes on for a while.
    pub signature: Option<Signature>,
    /// How many deliveries may begin in a second; `Some(None)`: any number.
    pub max_per_second: Option<Option<Rate>>,
    /// How many may be under way at once; `Some(None)`: as many as the process that sends them can do with.
    pub max_in_flight: Option<Option<InFlight>>,
    /// Whether it gets deliveries: true resumes it, false pauses it.
    pub active: Option<bool>,
}
