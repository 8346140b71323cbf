//! Which connected clients a change of documents concerns, in an administrator's words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use mesh_core::resource::ResourceType;
use prost::Message;

use super::loss::Loss;
use crate::document::{Code, DocumentKey, DocumentSet, Finding, Span, WholeFinding};
use crate::model::{Caller, World};
use crate::translate::translate;
use crate::xds::StreamStatus;

/// A connected client that is not the mesh's own library.
#[derive(Debug, Clone)]
pub struct ForeignClient {
    /// Its SPIFFE ID.
    pub identity: Arc<str>,
    /// What its grant says, and of what kind it is.
    pub caller: Caller,
    /// The route configurations that it has asked for.
    pub routes: Vec<Arc<str>>,
}

impl ForeignClient {
    /// The client of a stream, before it is known what it has asked for.
    pub fn new(status: &StreamStatus, caller: Caller) -> Self {
        let caller = Caller { client: status.client.clone(), ..caller };
        Self { identity: status.identity.clone(), caller, routes: Vec::new() }
    }

    /// What it leaves out of what it has asked for, as `world` would answer it.
    pub fn losses(&self, world: &World) -> BTreeSet<Loss> {
        let routes = self.routes.iter().filter_map(|name| {
            let message = translate(world, &self.caller, ResourceType::RouteConfiguration, name).message?;
            // Just encoded by ourselves.
            RouteConfiguration::decode(&*message.value).ok()
        });
        routes.flat_map(|routes| Loss::of_routes(&self.caller.client, &routes)).collect()
    }
}

/// What connected clients would leave out of the documents that a change touches: one warning for each thing left out, at its
/// rule, naming the clients. `world` is what the change leads to, and `documents` are those that it is made of.
pub fn findings(
    world: &World,
    documents: &DocumentSet,
    touched: &BTreeSet<&DocumentKey>,
    clients: &[ForeignClient],
) -> Vec<WholeFinding> {
    let touched: BTreeMap<String, &DocumentKey> = touched.iter().map(|key| (key.to_string(), *key)).collect();
    let mut lost: BTreeMap<(Loss, &str), BTreeSet<&str>> = BTreeMap::new();
    for client in clients {
        for loss in client.losses(world).into_iter().filter(|loss| touched.contains_key(&loss.document)) {
            lost.entry((loss, client.caller.client.name())).or_default().insert(&client.identity);
        }
    }
    let finding = |((loss, kind), names): ((Loss, &str), BTreeSet<&str>)| {
        let key = *touched.get(&loss.document)?;
        let document = documents.get(key)?;
        let field = format!("spec.{}", loss.rule);
        let span = document.span_of(&field).unwrap_or(document.span);
        Some(WholeFinding { document: key.clone(), finding: warning(&loss, kind, &names, field, span) })
    };
    lost.into_iter().filter_map(finding).collect()
}

fn warning(loss: &Loss, kind: &str, names: &BTreeSet<&str>, field: String, span: Span) -> Finding {
    let shown: Vec<&str> = names.iter().copied().take(NAMES_MAX).collect();
    let more = match names.len().saturating_sub(NAMES_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Finding {
        code: Code::ForeignClient,
        field,
        span,
        message: format!(
            "{kind} does not know {}: it {} ({}{more})",
            loss.feature,
            loss.effect.words(),
            shown.join(", ")
        ),
        next: "do without it where these clients call, or have them use the mesh's own library".to_owned(),
    }
}

/// How many clients a warning names.
const NAMES_MAX: usize = 5;
