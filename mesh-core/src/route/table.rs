//! All rules of a host, and the decision which of them takes a request.

use crate::canonical::NotCanonical;
use crate::resource::Provenance;
use crate::trace::Trace;

use super::index::Index;
use super::{
    CorsPolicy, ExternalAuth, FaultInjection, HeaderOperations, RequestFacts, RouteAction, RouteMatch,
    WeightedDestination,
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
    /// Whom it asks whether the request may go on.
    pub external_auth: Option<ExternalAuth>,
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
        // Handed over as it is: a walk over the rules passed by would cost every request what only `explain` reads.
        trace.note_all(self.account(request, chosen));
        chosen.map(|at| &self.routes[at])
    }

    /// Why each rule up to the chosen one did not take the request, or did.
    fn account(&self, request: &RequestFacts<'_>, chosen: Option<usize>) -> impl Iterator<Item = String> {
        let asked = chosen.map_or(self.routes.len(), |at| at + 1);
        let mut document = None;
        self.routes[..asked].iter().map(move |route| {
            let finding = route.condition.mismatch(request).unwrap_or_else(|| route.condition.describe());
            let step = format!("{}: {finding}", route.provenance.label_after(document));
            document = route.provenance.document.as_ref();
            step
        })
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
