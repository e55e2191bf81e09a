//! Makes series and registers them in one step; decides the buckets.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts,
    Registry,
};

use super::Fault;

/// A registry to be filled.
pub(super) struct Series(pub(super) Registry);

impl Series {
    fn registered<C: Collector + Clone + 'static>(&self, made: C) -> Result<C, Fault> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Fault> {
        self.registered(IntCounter::new(name, help)?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Fault> {
        self.registered(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn seconds(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, Fault> {
        self.registered(CounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<Gauge, Fault> {
        self.registered(Gauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Fault> {
        self.registered(GaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Fault> {
        self.registered(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, Fault> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.registered(HistogramVec::new(options, labels)?)
    }
}

/// Whole requests and calls of the API, in seconds.
///
/// Three crowds must be told apart: answers from memory (below 5 ms; the first two bounds), calls of the API (50 ms
/// to 1 s on a good day, so the steps are closest there), and requests that waited (5 s is the objective's bound,
/// 25 s the default of `gate.max_wait`). Clients give up after 30 or 60 s, so nothing is told apart beyond.
pub(super) const DURATIONS: &[f64] =
    &[0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0];

/// Time in line, in seconds.
///
/// An open gate lets pass in microseconds: below 5 ms nobody waited. 5 s is the objective (OPS 2: 99 % wait less),
/// so a bound stands exactly there and one on either side near it. 25 s is the default of `gate.max_wait`, 60 s of
/// `gate.max_prefer_wait`; an operator may allow an hour. Few, because each is multiplied by the tenants.
pub(super) const WAITS: &[f64] = &[0.005, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 300.0];

/// What the API asks for, in whole seconds: some seconds as a rule, an hour as documented (3600).
pub(super) const RETRY_AFTERS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
