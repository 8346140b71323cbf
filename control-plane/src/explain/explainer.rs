//! Answers questions about one world, and about variants of it with other settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::resource::InvalidResource;

use super::closure::Client;
use super::object::Object;
use super::request::Request;
use super::target::Target;
use super::{Decision, Outcome, Overrides, Protocol, Question, Translate, inbound, outbound};
use crate::document::{DocumentSet, MeshSettings};
use crate::model::{Caller, Config, World};
use crate::translate::translate;

/// Answers questions about one world.
pub struct Explainer {
    documents: DocumentSet,
    world: World,
    translate: Box<Translate>,
    /// Worlds with other settings, which a batch of questions asks for again and again.
    variants: BTreeMap<Overrides, World>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// The question is no JSON of the right shape.
    #[error("the request is not understood: {0}")]
    Malformed(String),
    /// The URL cannot be dialled.
    #[error("`{url}` cannot be dialled: {reason}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No method.
    #[error("`{0}` is not a method")]
    Method(String),
    /// No header.
    #[error("header `{0}` cannot be sent")]
    Header(String),
    /// Only the inbound side is asked, and nobody is named.
    #[error("`inbound_only` wants `at`: the serving workload")]
    NobodyServes,
    /// Clients would refuse the configuration.
    #[error("clients would refuse the configuration: {0}")]
    Rejected(#[from] InvalidResource),
}

impl std::fmt::Debug for Explainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Explainer").field("documents", &self.documents.len()).finish_non_exhaustive()
    }
}

impl Explainer {
    /// Explains what documents say by themselves.
    pub fn offline(documents: DocumentSet) -> Self {
        let world = World::offline(Arc::new(Config::new(&documents)));
        Self::new(documents, world)
    }

    /// Explains a running mesh.
    pub fn new(documents: DocumentSet, world: World) -> Self {
        Self { documents, world, translate: Box::new(translate), variants: BTreeMap::new() }
    }

    /// Puts another step between world and wire.
    #[must_use]
    pub fn with_translate(
        mut self,
        translate: impl Fn(
            &World,
            &Caller,
            mesh_core::resource::ResourceType,
            &str,
        ) -> crate::translate::Translated
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.translate = Box::new(translate);
        self
    }

    /// Answers one line of JSON with one line of JSON; a question without an answer yields `{"error": "…"}`.
    pub fn answer_line(&mut self, line: &str) -> String {
        let answer = read(line).and_then(|question| self.answer(&question));
        match answer {
            Ok(decision) => serde_json::json!(decision).to_string(),
            Err(error) => serde_json::json!({"error": error.to_string()}).to_string(),
        }
    }

    /// Answers one question.
    ///
    /// # Errors
    /// Where the question asks nothing that can be dialled, or clients would refuse the configuration.
    pub fn answer(&mut self, question: &Question) -> Result<Decision, Unanswerable> {
        if question.gateway.is_some() {
            let reason =
                "requests that enter at a gateway are not explained until there is an edge".to_owned();
            return Ok(Decision { reason: Some(reason), ..Decision::new(Outcome::Unsupported) });
        }
        let request = Request::new(question)?;
        self.prepare(question.mesh.as_ref());
        let world =
            question.mesh.as_ref().and_then(|overrides| self.variants.get(overrides)).unwrap_or(&self.world);
        let mut decision = if question.inbound_only {
            inbound_only(world, &self.translate, question, &request)?
        } else {
            outbound::decide(world, &self.translate, question, &request)?
        };
        decision.warnings.extend(not_honoured(question));
        Ok(decision)
    }

    fn prepare(&mut self, overrides: Option<&Overrides>) {
        let Some(overrides) = overrides else { return };
        if self.variants.contains_key(overrides) {
            return;
        }
        if self.variants.len() >= VARIANTS_MAX {
            self.variants.clear();
        }
        let settings = overridden(self.world.settings().clone(), overrides);
        let config = Config::with_settings(&self.documents, settings);
        self.variants.insert(overrides.clone(), self.world.reconfigured(Arc::new(config)));
    }
}

fn read(line: &str) -> Result<Question, Unanswerable> {
    if line.trim().is_empty() {
        return Err(Unanswerable::Malformed("the line is empty".to_owned()));
    }
    let read = serde_json::from_str(line).map(|Object(question)| question);
    read.map_err(|error| Unanswerable::Malformed(error.to_string()))
}

fn inbound_only(
    world: &World,
    translate: &Translate,
    question: &Question,
    request: &Request,
) -> Result<Decision, Unanswerable> {
    let at = question.at.as_ref().ok_or(Unanswerable::NobodyServes)?;
    let target = Target::at(world, at, request.dialled.port());
    let caller = target.caller();
    let client = Client { translate, world, caller: &caller };
    let mut decision = Decision::new(Outcome::Inbound);
    let arriving = inbound::Arriving::untouched(question, request);
    decision.inbound =
        inbound::decide(&client, &target, (question, request), &arriving, &mut decision.trace)?;
    Ok(decision)
}

fn overridden(mut settings: MeshSettings, overrides: &Overrides) -> MeshSettings {
    let Overrides { root_namespace, trust_domain, trust_domain_aliases, .. } = overrides.clone();
    settings.root_namespace = root_namespace.unwrap_or(settings.root_namespace);
    settings.trust_domain = trust_domain.unwrap_or(settings.trust_domain);
    settings.trust_domain_aliases = trust_domain_aliases.unwrap_or(settings.trust_domain_aliases);
    settings.path_normalization = overrides.path_normalization.unwrap_or(settings.path_normalization);
    settings.outbound_traffic_policy =
        overrides.outbound_traffic_policy.unwrap_or(settings.outbound_traffic_policy);
    if let Some(locality) = &overrides.locality {
        settings.preference = locality.preference();
    }
    if let Some(export_to) = overrides.default_export_to.clone() {
        let default = &mut settings.default_export_to;
        default.service = export_to.service.unwrap_or(std::mem::take(&mut default.service));
        default.virtual_service =
            export_to.virtual_service.unwrap_or(std::mem::take(&mut default.virtual_service));
        default.destination_rule =
            export_to.destination_rule.unwrap_or(std::mem::take(&mut default.destination_rule));
    }
    settings
}

/// What a question says that this mesh does not carry out yet.
fn not_honoured(question: &Question) -> Vec<String> {
    let mesh = question.mesh.as_ref();
    let said = [
        ("mesh.trusted_proxies", mesh.is_some_and(|mesh| mesh.trusted_proxies.is_some())),
        ("jwks", !question.jwks.is_empty()),
    ];
    said.into_iter()
        .filter(|(_, said)| *said)
        .map(|(field, _)| format!("`{field}` has no effect yet"))
        .collect()
}

/// Whether a request is gRPC's, by what the question says or by its content type.
pub(super) fn is_grpc(question: &Question, request: &Request) -> bool {
    let by_headers =
        || request.parts.as_ref().is_some_and(|parts| mesh_core::status::is_grpc(&parts.headers));
    question.protocol() == Protocol::Grpc || by_headers()
}

/// As many variants of the settings are kept.
const VARIANTS_MAX: usize = 64;
