//! The sentences: how a request is answered, and how an answer is fetched. Nothing else stands here.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body as _;
use tokio::time::Instant;

use crate::admit::Doorman;
use crate::body::Body;
use crate::cache::{Cache, Carries, Lookup, Proved, Settled, Slot, Trouble};
use crate::clock::Clock;
use crate::gate::{Gate, Load, Permit, Signal, Ticket};
use crate::machine::Guard;
use crate::metrics::Metrics;
use crate::reply::{self, Problem};
use crate::rewrite::Rewriter;
use crate::route::{Kind, Route, Router};
use crate::server::Arrival;
use crate::trail::Trail;
use crate::upstream::{Attempts, Failed, Next, Parcel, Replayer, Spool, Transport};

/// The rooms that a request walks through.
#[derive(Debug)]
pub struct Proxy<T> {
    /// Whether there is memory for a request.
    pub guard: Guard,
    /// Where a request goes.
    pub router: Router,
    /// Whom it speaks for.
    pub doorman: Doorman,
    /// What is kept.
    pub cache: Cache,
    /// Who may go, and when.
    pub gate: Gate,
    /// What the API and the client see.
    pub rewriter: Rewriter,
    /// Where request bodies wait.
    pub spool: Spool,
    /// What may be sent again.
    pub replayer: Replayer,
    /// The way to the API.
    pub transport: T,
    /// Where everything is counted.
    pub metrics: Arc<Metrics>,
    /// The time.
    pub clock: Clock,
}

/// What one fetch needs besides the rooms.
struct Errand<'a> {
    route: &'a Route,
    head: &'a Parts,
    parcel: Parcel,
}

impl<T: Transport> Proxy<T> {
    /// Answers a request, whatever happens, and leaves one trail.
    ///
    /// # Drop
    /// Dropping the future leaves the line or cancels the call; the trail says that the client left.
    pub async fn answer(self: Arc<Self>, arrival: Arrival, request: Request<Body>) -> Response<Body> {
        let (mut head, body) = request.into_parts();
        let mut trail = Trail::begin(Arc::clone(&self.metrics), &mut head);
        let walked = {
            // In its place: moved into another future, it would be copied for each request.
            let walk = pin!(self.walk(&mut trail, arrival, &head, body));
            self.gate.unless_over(walk).await
        };
        let response = match walked.unwrap_or_else(|refused| Err(refused.into())) {
            Ok(response) => response,
            Err(problem) => {
                trail.refused(&problem);
                problem.response(&head.method, &trail.tracking_id())
            }
        };
        trail.close(response)
    }

    async fn walk(
        self: &Arc<Self>,
        trail: &mut Trail,
        arrival: Arrival,
        head: &Parts,
        body: Body,
    ) -> Result<Response<Body>, Problem> {
        let route = self.router.find(arrival.scheme, head)?;
        trail.routed(&route);
        let pass = self.doorman.admit(&head.headers)?;
        trail.admitted(&pass);
        self.guard.admit()?;
        let patience = || self.gate.patience(&pass, &route, head);
        let carries = if body.is_end_stream() { Carries::Nothing } else { Carries::Body };
        let response = match self.cache.lookup(&route, &pass, (head, carries), &patience).await {
            Lookup::Ready(response, note) => trail.noted(response, note),
            Lookup::Stale(response, note, slot) => {
                self.refresh(&route, head, slot);
                trail.noted(response, note)
            }
            Lookup::Prove(slot) => Box::pin(self.prove(trail, &route, head, slot, patience())).await?,
            Lookup::Fetch(slot) => {
                let body = self.rewriter.request_body(&route, head, body);
                let declared = body.size_hint().exact();
                let parcel = self.spool.receive(body, declared).await?;
                let errand = Errand { route: &route, head, parcel };
                Box::pin(self.fetch_and_keep(trail, errand, slot)).await?
            }
            Lookup::Unanswerable => return Err(Problem::NotKept),
        };
        let response = reply::alike(&route, &head.method, response).await;
        Ok(self.rewriter.inbound(&route, &head.method, response))
    }

    /// The kept bytes, if the API says with a HEAD that this tenant may have them; else whatever it says.
    async fn prove(
        &self,
        trail: &mut Trail,
        route: &Route,
        head: &Parts,
        slot: Slot,
        patience: Duration,
    ) -> Result<Response<Body>, Problem> {
        // It stands in line as the request itself would: no turn tells what others have read.
        let mut ticket = self.ticket(&Errand { route, head, parcel: Parcel::nothing() }, &slot);
        let question = Cache::proof_question(head);
        let mut errand = Errand { route, head: &question, parcel: Parcel::nothing() };
        let began_at = self.clock.now();
        let answered = match self.fetch(trail, &mut errand, &mut ticket).await {
            Ok(answered) => answered,
            Err(problem) => {
                self.cache.give_up(slot);
                return Err(problem);
            }
        };
        let spent = self.clock.now().saturating_duration_since(began_at);
        let left = patience.saturating_sub(spent);
        match self.cache.prove(slot.after(spent), (route, head), answered, left).await {
            Proved::Fetch(slot) => {
                self.fetch_and_keep(trail, Errand { route, head, parcel: Parcel::nothing() }, slot).await
            }
            Proved::Holds(response, note) => Ok(trail.noted(response, note)),
            Proved::Said(answer, note) => Ok(trail.noted(answer, note)),
        }
    }

    /// What is kept becomes fresh again without anybody waiting for it. The call's own deadlines end the task.
    fn refresh(self: &Arc<Self>, route: &Route, head: &Parts, slot: Slot) {
        let (proxy, route, head) = (Arc::clone(self), route.clone(), head.clone());
        tokio::spawn(async move {
            let mut trail = Trail::begin_aside(Arc::clone(&proxy.metrics), &head);
            trail.routed(&route);
            let errand = Errand { route: &route, head: &head, parcel: Parcel::nothing() };
            if let Ok(response) = proxy.fetch_and_keep(&mut trail, errand, slot).await {
                response.into_body().drain().await;
            }
        });
    }

    /// The upstream's answer, kept if it may be; or what is kept, if the upstream confirms it or is not to be had.
    async fn fetch_and_keep(
        &self,
        trail: &mut Trail,
        errand: Errand<'_>,
        slot: Slot,
    ) -> Result<Response<Body>, Problem> {
        let (route, head) = (errand.route, errand.head);
        let mut ticket = self.ticket(&errand, &slot);
        if self.gate.reopens_in(&ticket).is_some()
            && let Some((response, note)) = self.cache.fall_back(&slot, head, Trouble::GateClosed)
        {
            return Ok(trail.noted(response, note));
        }
        let question = self.cache.question(&slot, head);
        let mut errand = Errand { head: question.as_ref().unwrap_or(head), ..errand };
        trail.forwarded(slot.note());
        let (answer, asked_at) = match self.fetch(trail, &mut errand, &mut ticket).await {
            Ok(fetched) => fetched,
            Err(problem) => {
                let trouble = problem.trouble();
                let covered = trouble.and_then(|trouble| self.cache.fall_back(&slot, head, trouble));
                self.cache.give_up(slot);
                return covered.map(|(response, note)| trail.noted(response, note)).ok_or(problem);
            }
        };
        match self.cache.settle(slot, head, answer, asked_at) {
            Settled::Answer(response, note) => Ok(trail.noted(response, note)),
            // Once: the slot asks nothing any more.
            Settled::Again(slot) => {
                let errand = Errand { route, head, parcel: Parcel::nothing() };
                Box::pin(self.fetch_and_keep(trail, errand, slot)).await
            }
        }
    }

    fn ticket(&self, errand: &Errand<'_>, slot: &Slot) -> Ticket {
        let load = Load { length: errand.parcel.length(), bytes: errand.parcel.bytes() };
        self.gate.ticket(slot, errand.route, errand.head, load)
    }

    /// Waits for a permit, sends, lets the gate learn; again, if the request may be sent again. Tells when the answer was
    /// asked for.
    async fn fetch(
        &self,
        trail: &mut Trail,
        errand: &mut Errand<'_>,
        ticket: &mut Ticket,
    ) -> Result<(Response<Body>, Instant), Problem> {
        let mut attempts = Attempts::default();
        let mut refusal = None;
        loop {
            let acquired = self.gate.acquire(ticket).await;
            trail.waited(ticket.waited(), ticket.observed());
            let asked_at = self.clock.now();
            let permit = match (acquired, refusal.take()) {
                (Ok(permit), _) => permit,
                (Err(refused), Some(refusal)) => {
                    return Ok((reply::pass_on(refusal, refused.retry_after), asked_at));
                }
                (Err(refused), None) => return Err(refused.into()),
            };
            let result = self.send(trail, permit, errand).await;
            let request = (&errand.head.method, errand.route);
            let now = (self.clock.now(), self.clock.wall());
            let next =
                self.replayer.after(&mut attempts, request, errand.parcel.is_repeatable(), &result, now);
            trail.attempted(attempts.made());
            match next {
                Next::Again(event, pause) if self.gate.pause(ticket, pause).await => trail.replayed(event),
                Next::Again(..) | Next::Done => {
                    return Ok((self.finish(errand.route, ticket, result?, now.1)?, asked_at));
                }
            }
            refusal = Box::pin(reply::keep(result)).await;
        }
    }

    /// The API's last word. Other origins than Webex may mean what they say, in whatever form.
    fn finish(
        &self,
        route: &Route,
        ticket: &Ticket,
        answer: Response<Body>,
        now: SystemTime,
    ) -> Result<Response<Body>, Problem> {
        if answer.status().is_success() {
            self.gate.welcome(ticket);
        }
        Ok(match route.kind() {
            Kind::Generic => answer,
            Kind::Webex => reply::honest(answer, self.gate.reopens_in(ticket), now),
        })
    }

    /// One attempt: outbound, send, learn.
    async fn send(
        &self,
        trail: &mut Trail,
        permit: Permit,
        errand: &mut Errand<'_>,
    ) -> Result<Response<Body>, Failed> {
        let length = errand.parcel.length();
        let body = errand
            .parcel
            .attempt()
            .ok_or_else(|| Failed::Untaken("the body can be sent only once".into()))?;
        let outbound = self.rewriter.outbound(errand.route, errand.head, body, length);
        let sent_at = self.clock.now();
        let answer =
            self.transport.send(permit, outbound).await.inspect_err(|failed| trail.failed(failed))?;
        let signal = Signal::read(answer.response.status(), answer.response.headers(), self.clock.wall());
        let closed = self.gate.learn(answer.receipt, signal);
        trail.answered(answer.response.status(), sent_at.elapsed(), signal, closed);
        Ok(answer.response)
    }
}
