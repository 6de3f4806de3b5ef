//! Longer ways, from an event to what became of it.

mod crash;
mod deliver;
mod fan_out;
mod first_start;
mod health;
mod isolation;
mod noisy;
mod parked;
mod replay;
mod restart;
mod retry;
mod secrets;
mod tls;
