//! A made-up Webex with limits, for the demonstration and for tests: the model, its server, its flags.

mod settings;
pub mod model;
pub mod server;
mod cli;

pub use cli::{SimArgs, run};
pub use model::{Answer, Close, ControlFault, Forced, Model, Payload};
pub use server::{Listeners, SimFault, serve};
pub use settings::{
    Certificate, Limit, LimitMode, PagingQuirk, RetryAfterForm, SettingFault, SimSettings, ThrottleAt,
    ThrottleBody,
};
