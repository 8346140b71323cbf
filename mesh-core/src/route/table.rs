//! All rules of a host, and the decision which of them takes a request.

use crate::canonical::NotCanonical;
use crate::resource::Provenance;
use crate::trace::Trace;

use super::index::Index;
use super::{
    CorsPolicy, FaultInjection, HeaderOperations, RequestFacts, RouteAction, RouteMatch, WeightedDestination,
};

/// All routes of one host, compiled.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    index: Index,
}

/// One rule.
#[derive(Debug)]
pub struct Route {
    /// When it takes a request.
    pub condition: RouteMatch,
    /// Where it came from.
    pub provenance: Provenance,
    /// What is done before that.
    pub filters: RouteFilters,
    /// What it does.
    pub action: RouteAction,
    /// Applied to the request, before the destination's own.
    pub request_headers: HeaderOperations,
    /// Applied to the response, before the destination's own.
    pub response_headers: HeaderOperations,
}

/// What a rule has done before its action, in this order.
#[derive(Debug, Default)]
pub struct RouteFilters {
    /// Faults injected on purpose.
    pub fault: Option<FaultInjection>,
    /// What pages of other origins may do.
    pub cors: Option<CorsPolicy>,
}

impl RouteTable {
    /// Compiles rules, given in the documents' order.
    pub fn new(routes: Vec<Route>) -> Self {
        let index = Index::new(routes.iter().map(|route| &route.condition.path));
        Self { routes, index }
    }

    /// The first rule that matches, in the documents' order; `None` is 404.
    ///
    /// The trace explains the decision afterwards, rule by rule, so that both go through one index.
    pub fn decide(&self, request: &RequestFacts<'_>, trace: &mut impl Trace) -> Option<&Route> {
        let chosen = self.index.first(request.path.as_str(), |at| self.routes[at].condition.matches(request));
        let passed_over = &self.routes[..chosen.unwrap_or(self.routes.len())];
        let mut document = None;
        for route in passed_over.iter().chain(chosen.map(|at| &self.routes[at])) {
            trace.note(|| {
                let finding = route.condition.mismatch(request).unwrap_or_else(|| route.condition.describe());
                format!("{}: {finding}", route.provenance.label_after(document))
            });
            document = route.provenance.document.as_ref();
        }
        chosen.map(|at| &self.routes[at])
    }

    /// The documents whose rules these are, each once.
    pub fn documents(&self) -> Vec<&str> {
        let mut documents: Vec<_> =
            self.routes.iter().filter_map(|route| route.provenance.document.as_deref()).collect();
        documents.dedup();
        documents
    }

    /// All rules in order.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Route {
    /// Applies the rule and the chosen destination to the request's head: rewrite, then header operations.
    ///
    /// # Errors
    /// Where the rewritten path is too long to be sent; the answer is 400.
    pub fn apply_request(
        &self,
        destination: &WeightedDestination,
        parts: &mut http::request::Parts,
    ) -> Result<(), NotCanonical> {
        if let RouteAction::Forward(forward) = &self.action {
            forward.rewrite.apply(destination.authority.as_ref(), parts)?;
        }
        self.request_headers.apply(&mut parts.headers);
        destination.request_headers.apply(&mut parts.headers);
        Ok(())
    }

    /// Applies header operations to the response's head; an answer that the rule makes itself has no destination.
    pub fn apply_response(&self, destination: Option<&WeightedDestination>, headers: &mut http::HeaderMap) {
        self.response_headers.apply(headers);
        if let Some(destination) = destination {
            destination.response_headers.apply(headers);
        }
    }
}
