//! Longer ways, from an event to what became of it.

mod abuse;
mod announce;
mod authentication;
mod client_certificates;
mod crash;
mod deliver;
mod fan_out;
mod faults;
mod first_start;
mod health;
mod isolation;
mod killed;
mod noisy;
mod order;
mod parked;
mod polling;
mod replay;
mod restart;
mod retry;
mod secrets;
mod telemetry;
mod tls;
mod tokens;
mod undelivered;
mod upgrade;
