//! The documented APIs, each as its clients see it.

mod centry;
pub(crate) mod golden;
mod oauth;
mod sapo;
mod shipstream;
mod tiki;
mod together;
mod ultimate;
pub(crate) mod verifiers;
