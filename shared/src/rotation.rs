//! What signs a webhook's deliveries, while it changes: the old beside the new, so that a receiver may change over in its
//! own time.

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use crate::{
    model::{Signature, SigningSecret, Webhook},
    ports::Ports,
};

/// How long what signed signs on beside its successor.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);

/// A secret and a key pair that nobody has seen.
pub(crate) struct Fresh {
    pub(crate) secret: SigningSecret,
    pub(crate) key_pair: SigningSecret,
}

impl Fresh {
    pub(crate) fn new(ports: &Ports) -> Self {
        // Standard Webhooks asks for 24 to 64 random bytes of a secret, Ed25519 for 32 of a seed (RFC 8032).
        let (mut secret, mut seed) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
        ports.dice.fill(&mut *secret);
        ports.dice.fill(&mut *seed);
        Self { secret: SigningSecret::generate(&*secret), key_pair: SigningSecret::generate_key_pair(&seed) }
    }
}

/// Puts new ones in the place of what signs: of a webhook that nothing signs, a secret.
pub(crate) fn rotate(webhook: &mut Webhook, fresh: &Fresh, now: Timestamp) {
    let has_key_pair = is_current(&webhook.key_pairs);
    if is_current(&webhook.secrets) || !has_key_pair {
        replace(&mut webhook.secrets, &fresh.secret, now);
    }
    if has_key_pair {
        replace(&mut webhook.key_pairs, &fresh.key_pair, now);
    }
}

/// Has a webhook signed by `signature` from now on. A dialect's own secret is not Standard Webhooks', and stays.
pub(crate) fn turn_to(webhook: &mut Webhook, signature: Signature, fresh: &Fresh, now: Timestamp) {
    let is_standard = webhook.secrets.first().is_some_and(SigningSecret::is_standard);
    match (signature.is_symmetric(), is_standard && is_current(&webhook.secrets)) {
        (true, false) => replace(&mut webhook.secrets, &fresh.secret, now),
        (false, true) => retire(&mut webhook.secrets, now),
        (true, true) | (false, false) => {}
    }
    match (signature.is_asymmetric(), is_current(&webhook.key_pairs)) {
        (true, false) => replace(&mut webhook.key_pairs, &fresh.key_pair, now),
        (false, true) => retire(&mut webhook.key_pairs, now),
        (true, true) | (false, false) => {}
    }
}

fn is_current(secrets: &[SigningSecret]) -> bool {
    secrets.first().is_some_and(SigningSecret::is_current)
}

fn replace(secrets: &mut Vec<SigningSecret>, new: &SigningSecret, now: Timestamp) {
    retire(secrets, now);
    secrets.insert(0, new.clone());
}

/// The newest predecessor alone overlaps: a receiver knows two at most.
fn retire(secrets: &mut Vec<SigningSecret>, now: Timestamp) {
    secrets.truncate(1);
    secrets.retain(|secret| secret.signs_at(now));
    for old in secrets {
        old.retires_at.get_or_insert(now + OVERLAP);
    }
}
