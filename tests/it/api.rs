//! Our own API, over real HTTP.

mod deliveries;
mod events;
mod filters;
mod history;
mod keys;
pub(crate) mod paging;
mod policies;
mod retry;
mod tenants;
mod testing;
mod topics;
mod webhooks;
