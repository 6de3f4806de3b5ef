//! Our own API, over real HTTP.

mod deliveries;
mod events;
mod keys;
mod paging;
mod tenants;
mod webhooks;
