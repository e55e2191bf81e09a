//! The side-by-side demonstration: the same bots with the same work, straight to a limited API and through Tollgate.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::sim::Limit;
use crate::{app, config, server, sim};

mod bot;
mod client;
mod figures;
mod progress;
mod script;
mod stage;
mod table;
mod waits;

use bot::{Identity, Progress, Props, Tally};
use client::Way;
use figures::Phase;
use stage::{Proxied, Stage};
use waits::Waits;

/// What can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoSettings {
    seed: u64,
    bots: u32,
}

/// Why the demonstration did not come to its end, or did not show what it should.
#[derive(Debug, thiserror::Error)]
pub enum DemoFault {
    /// The proxy does not start.
    #[error(transparent)]
    App(#[from] app::Fault),
    /// No certificate.
    #[error(transparent)]
    Ca(#[from] server::Fault),
    /// The configuration made for the proxy is not accepted.
    #[error(transparent)]
    Config(#[from] config::Faults),
    /// The simulator does not do as it is told.
    #[error(transparent)]
    Control(#[from] sim::ControlFault),
    /// The user wants no more of it.
    #[error("interrupted")]
    Interrupted,
    /// A socket or a file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Somebody else writes the log.
    #[error(transparent)]
    Log(#[from] tracing::dispatcher::SetGlobalDefaultError),
    /// The proxy opened no TLS listener.
    #[error("the proxy opened no TLS listener with a local CA")]
    NoListener,
    /// What was promised did not happen.
    #[error("{}", .0.join("\n"))]
    Promise(Vec<String>),
    /// Not a request.
    #[error(transparent)]
    Request(#[from] http::Error),
    /// The simulator does not start.
    #[error(transparent)]
    Sim(#[from] sim::SimFault),
    /// The bots did not end.
    #[error("the bots {0} did not end in {PHASE_TIMEOUT:?}")]
    TimedOut(&'static str),
    /// A bot cannot call.
    #[error(transparent)]
    Way(#[from] client::WayFault),
}

impl DemoSettings {
    /// `bots` beyond [`MAX_BOTS`] are left out; there is at least one.
    pub fn new(seed: u64, bots: u32) -> Self {
        Self { seed, bots: bots.clamp(1, MAX_BOTS) }
    }

    /// The hidden limit: a fixed window for all bots together. However many they are, all calls of all bots need five
    /// windows, and no `Retry-After` is longer than one.
    fn limit(&self) -> Limit {
        let burst = (self.bots * script::CALLS).div_ceil(WINDOWS);
        let windows_per_minute = 60.0 / WINDOW.as_secs_f64();
        Limit { per_minute: f64::from(burst) * windows_per_minute, burst }
    }
}

/// Runs both ways and prints the table. Takes under a minute; needs no network.
///
/// # Errors
/// `Promise` if a bot saw a 429 or an error through Tollgate, or if on either way a post was lost or doubled, or an
/// answer was wrong; the others if something cannot be started.
pub async fn run(settings: DemoSettings) -> Result<(), DemoFault> {
    tokio::select! {
        shown = show(settings) => shown,
        // Ended here and not by the system, so that the state directory goes too.
        _ = tokio::signal::ctrl_c() => Err(DemoFault::Interrupted),
    }
}

async fn show(settings: DemoSettings) -> Result<(), DemoFault> {
    let waits = Waits::listen()?;
    let bots: Vec<Identity> =
        (1..=settings.bots).map(|number| Identity::new(settings.seed, number)).collect();
    let mut stage = Stage::start(settings).await?;

    let way = stage.straight()?;
    let straight = play(&mut stage, STRAIGHT, way, &bots).await?;

    let Proxied { way, running } = Proxied::start(&stage, &bots).await?;
    let mut proxied = play(&mut stage, PROXIED, way, &bots).await?;
    running.end().await;
    proxied.waits = waits.heard();

    let text = table::render(&settings, &straight, &proxied);
    // A reader that went away is no reason to fail.
    drop(std::io::stdout().lock().write_all(text.as_bytes()));
    let broken = promises(&straight, &proxied);
    if broken.is_empty() { Ok(()) } else { Err(DemoFault::Promise(broken)) }
}

/// Lets all bots do all their work over one way.
async fn play(
    stage: &mut Stage,
    title: &'static str,
    way: Way,
    bots: &[Identity],
) -> Result<Phase, DemoFault> {
    let props = Arc::new(stage.furnish(title, bots)?);
    let progress = Arc::new(Progress::default());
    let total = u64::from(script::CALLS) * u64::try_from(bots.len()).unwrap_or_default();
    let began_at = Instant::now();
    let tallies = tokio::select! {
        done = timeout(PHASE_TIMEOUT, work(bots, way, &props, &progress)) => done,
        never = progress::draw(title, total, Arc::clone(&progress)) => match never {},
    };
    let tallies = tallies.map_err(|_elapsed| DemoFault::TimedOut(title))?;
    let took = began_at.elapsed();
    progress::finish(title, total, &progress, took);
    let mut phase =
        Phase { took, api: stage.api(), throttled_bots: 0, faults: Vec::new(), waits: BTreeMap::new() };
    for (identity, tally) in tallies {
        phase.throttled_bots += tally.throttled;
        phase.faults.extend(tally.faults);
        phase.waits.insert(identity.name, tally.slept);
    }
    phase.faults.extend(stage.misposted(&props, bots)?);
    Ok(phase)
}

/// All bots at once. They end with this future.
async fn work(
    bots: &[Identity],
    way: Way,
    props: &Arc<Props>,
    progress: &Arc<Progress>,
) -> Vec<(Identity, Tally)> {
    let way = Arc::new(way);
    let mut working = JoinSet::new();
    for bot in bots {
        working.spawn(bot::work(bot.clone(), Arc::clone(&way), Arc::clone(props), Arc::clone(progress)));
    }
    working.join_all().await
}

/// What was promised and not kept, in sentences.
fn promises(straight: &Phase, proxied: &Phase) -> Vec<String> {
    let mut broken = Vec::new();
    if proxied.throttled_bots > 0 {
        broken.push(format!("bots saw {} answers with 429 through Tollgate", proxied.throttled_bots));
    }
    for (title, phase) in [(STRAIGHT, straight), (PROXIED, proxied)] {
        let shown = phase.faults.iter().take(MAX_FAULTS).map(|fault| format!("{title}: {fault}"));
        broken.extend(shown);
        let more = phase.faults.len().saturating_sub(MAX_FAULTS);
        if more > 0 {
            broken.push(format!("{title}: {more} faults more"));
        }
    }
    broken
}

/// Each has a name in the proxy's configuration, which takes two hundred.
pub const MAX_BOTS: u32 = 100;
const STRAIGHT: &str = "straight to the API";
const PROXIED: &str = "through Tollgate";
/// A tenth of the windows that a real limit has, so that no wait comes near 20 s.
const WINDOW: Duration = Duration::from_secs(4);
/// Windows that all calls of all bots fill.
const WINDOWS: u32 = 5;
/// Three times what the slower way takes.
const PHASE_TIMEOUT: Duration = Duration::from_secs(90);
const MAX_FAULTS: usize = 10;

#[cfg(test)]
mod tests;
