//! The flip test: for every field that is honoured, two sets of documents that differ only there do something different on
//! real sockets.
//!
//! ```text
//!  known_fields ─► a case or a reason for each? ─► base applied ─► asked ─► as stated?
//!  (the decoders)                                  field flipped ─► asked ─► as stated?
//! ```
//! One control plane and one fleet serve all cases, one after the other. A case waits for the members to have what was applied,
//! then asks until it sees what is stated, for a bounded time. What it saw must still be so at the end of all cases, when late
//! copies of requests have come.
//!
//! # How to add a case
//! A field that a decoder begins to honour fails this test until it has one. Write a row into its kind's file:
//!
//! ```text
//! case("http[].timeout", rule("timeout: <<100ms -> 5s>>, route: [{destination: {host: one}}]"),
//!      get("/").header(WAIT, "300"), "504", "one")
//! ```
//! That is: the field's path below `spec`, as the failure names it; documents, of which the one `<<base -> flipped>>` stands in that
//! field; the request, with what to look at ([`ask::See`]: by default who answered, or with what status); what is seen before
//! and after. [`fleet`] tells whom there is to call, and what `$ONE` and the like stand for. A field whose flip changes nothing is a defect
//! of the mesh; only names, what is refused, and what no request can tell go to [`reasons`]. `MESH_FLIP_ONLY=http[].timeout` runs the cases of
//! fields with that in their path.
//!
//! # Layout
//!
//! [`coverage`] which fields need a case · [`case`] the form of a row · [`ask`] requests and what is seen of them · [`fleet`]
//! who asks and who is asked · [`teller`] the applications · [`outside`] servers outside the mesh · [`preference`] who goes before others · [`reasons`] · and the
//! rows, by kind.

mod ask;
mod case;
mod connection_pool;
mod coverage;
mod destination_rule;
mod fleet;
mod gateway_route;
mod mesh_settings;
mod outlier_detection;
mod outside;
mod preference;
mod reasons;
mod registry;
mod security;
mod teller;
mod virtual_service;

use std::time::{Duration, Instant};

use control_plane::document::Kind;

use ask::{Ask, Observation};
use case::Case;
use fleet::Fleet;

/// How long a case may take to see what it states, once all is known to everybody.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what came of one call is looked at, before the next call.
const LOOK: Duration = Duration::from_millis(30);
const POLL: Duration = Duration::from_millis(3);
/// Runs only the cases of fields whose path holds this.
const ONLY: &str = "MESH_FLIP_ONLY";

fn cases(kind: Kind) -> Vec<Case> {
    match kind {
        Kind::MeshSettings => mesh_settings::cases(),
        Kind::Service => registry::services(),
        Kind::ServiceEntry => registry::service_entries(),
        Kind::WorkloadEntry => registry::workload_entries(),
        Kind::VirtualService => virtual_service::cases(),
        Kind::DestinationRule => destination_rule::cases(),
        Kind::HttpRoute => gateway_route::http_cases(),
        Kind::GrpcRoute => gateway_route::grpc_cases(),
        Kind::ReferenceGrant => gateway_route::reference_grants(),
        Kind::PeerAuthentication => security::peer_authentications(),
        Kind::AuthorizationPolicy => security::authorization_policies(),
        // What is kept of them says what a cluster holds, or does nothing: none of it is a mesh's own.
        Kind::Gateway
        | Kind::KubernetesGateway
        | Kind::GatewayClass
        | Kind::Deployment
        | Kind::EndpointSlice => Vec::new(),
    }
}

#[test]
fn every_honoured_field_has_a_case_or_a_reason() {
    let mut mistakes = Vec::new();
    for kind in coverage::KINDS {
        let (cases, reasons) = (cases(kind), reasons::reasons(kind));
        mistakes.extend(coverage::mistakes(kind, &cases, &reasons));
        let named = |mistake: String| format!("{}: {mistake}", kind.name());
        mistakes.extend(cases.iter().filter_map(|case| case.mistake(kind)).map(named));
        mistakes.extend(reasons.iter().filter_map(|reason| reason.mistake(kind)).map(named));
        reasons.iter().for_each(|reason| println!("without a case: {} {reason}", kind.name()));
    }
    assert!(mistakes.is_empty(), "{} mistakes:\n{}", mistakes.len(), mistakes.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_honoured_field_does_something() {
    let start = Instant::now();
    let mut fleet = Fleet::start().await;
    let only = std::env::var(ONLY).unwrap_or_default();
    let (mut failures, mut seen) = (Vec::new(), Vec::new());
    for kind in coverage::KINDS {
        for case in cases(kind) {
            let name = format!("{}: {}", kind.name(), case.field);
            if !name.contains(&only) {
                continue;
            }
            match flip(&mut fleet, &case).await {
                Ok(observations) => seen.push((kind, case, observations)),
                Err(problem) => failures.push(format!("{name} {problem}")),
            }
        }
    }
    for (kind, case, observations) in &seen {
        for (observation, stated) in observations.iter().zip([&case.base, &case.flipped]) {
            let words = observation.words(&fleet.log);
            if words != *stated {
                let (kind, field) = (kind.name(), &case.field);
                failures.push(format!("{kind}: {field} saw `{words}` in the end, and `{stated}` before"));
            }
        }
    }
    println!("{} fields flipped in {:?}", seen.len(), start.elapsed());
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

async fn flip(fleet: &mut Fleet, case: &Case) -> Result<[Observation; 2], String> {
    let [base, flipped] = case.documents();
    fleet.begin(&base).await.map_err(|why| format!("is refused: {why}"))?;
    let before = seen(fleet, &case.ask, &case.base).await.map_err(|saw| format!("before the flip {saw}"))?;
    fleet.apply(&flipped).await.map_err(|why| format!("is refused once flipped: {why}"))?;
    let after = seen(fleet, &case.ask, &case.flipped).await.map_err(|saw| format!("once flipped {saw}"))?;
    Ok([before, after])
}

/// Asks until what is stated is seen.
async fn seen(fleet: &Fleet, ask: &Ask, stated: &str) -> Result<Observation, String> {
    let start = Instant::now();
    loop {
        let observation = ask.observe(fleet).await;
        let asked = Instant::now();
        while asked.elapsed() < LOOK {
            if observation.words(&fleet.log) == stated {
                return Ok(observation);
            }
            tokio::time::sleep(POLL).await;
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("sees `{}` and not `{stated}`", observation.words(&fleet.log)));
        }
    }
}
