//! What every function shares at its edge: Lambda's event types to and from the domain's requests, settings,
//! logs, the clock and the dice.

mod edge;
mod gateway;
mod settings;
mod telemetry;
mod traces;

pub use edge::{SystemClock, SystemDice};
pub use gateway::{MAX_TARGET, answer, decode, encode, event};
pub use settings::{Missing, Settings};
pub use telemetry::{Telemetry, start_logs};
pub use traces::Traces;
