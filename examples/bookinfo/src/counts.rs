//! What this process received, counted by the process itself: nobody else's word is needed for how a split went.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::response::Json;
use axum::routing::get;
use mesh_server::Peer;
use serde::Serialize;

use crate::instance::Instance;

/// Requests received since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Totals>);

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
struct Totals {
    total: u64,
    by_path: BTreeMap<String, u64>,
    by_end_user: BTreeMap<String, u64>,
    by_caller: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn received(&self, request: &Request) {
        let end_user =
            request.headers().get("end-user").map(|value| String::from_utf8_lossy(value.as_bytes()));
        let caller = request.extensions().get::<Peer>().and_then(Peer::principal);
        self.add(request.uri().path(), end_user.as_deref(), caller);
    }

    fn add(&self, path: &str, end_user: Option<&str>, caller: Option<&str>) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.total += 1;
        count(&mut totals.by_path, path);
        count(&mut totals.by_end_user, end_user.unwrap_or(NOBODY));
        count(&mut totals.by_caller, caller.unwrap_or(NOBODY));
    }

    fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `GET /counts`.
pub(crate) fn app(instance: Instance, counts: Arc<Counts>) -> Router {
    #[derive(Serialize)]
    struct Answer {
        #[serde(flatten)]
        instance: Instance,
        #[serde(flatten)]
        totals: Totals,
    }
    let answer = move || async move { Json(Answer { instance: instance.clone(), totals: counts.totals() }) };
    Router::new().route("/counts", get(answer))
}

/// Callers choose the keys, so there are only so many of them.
fn count(by: &mut BTreeMap<String, u64>, key: &str) {
    let key = if by.contains_key(key) || by.len() < KEYS_MAX { key } else { OTHERS };
    *by.entry(key.to_owned()).or_default() += 1;
}

const KEYS_MAX: usize = 1000;
const NOBODY: &str = "(none)";
const OTHERS: &str = "(others)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_counts_once_in_each_way() {
        let counts = Counts::default();
        counts.add("/reviews/0", Some("jason"), None);
        counts.add("/reviews/0", None, Some("cluster.local/ns/default/sa/bookinfo-productpage"));
        let totals = counts.totals();
        assert_eq!(totals.total, 2);
        assert_eq!(totals.by_path["/reviews/0"], 2);
        assert_eq!(totals.by_end_user["jason"], 1);
        assert_eq!(totals.by_end_user[NOBODY], 1);
        assert_eq!(totals.by_caller["cluster.local/ns/default/sa/bookinfo-productpage"], 1);
    }

    #[test]
    fn callers_cannot_fill_the_memory() {
        let counts = Counts::default();
        for number in 0..2 * KEYS_MAX {
            counts.add(&format!("/{number}"), None, None);
        }
        let totals = counts.totals();
        assert_eq!(totals.by_path.len(), KEYS_MAX + 1);
        assert_eq!(totals.by_path.values().sum::<u64>(), totals.total);
    }
}
