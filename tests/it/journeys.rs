//! Longer ways, from an event to what became of it.

mod crash;
mod deliver;
mod first_start;
mod health;
mod isolation;
mod noisy;
mod order;
mod parked;
mod polling;
mod restart;
mod retry;
mod secrets;
mod tls;
