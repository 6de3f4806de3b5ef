//! Longer ways, from an event to what became of it.

mod abuse;
mod crash;
mod deliver;
mod faults;
mod first_start;
mod health;
mod isolation;
mod killed;
mod noisy;
mod parked;
mod restart;
mod retry;
mod secrets;
mod tls;
mod upgrade;
