//! What is printed inside the cover of a book.

use axum::Router;
use axum::extract::Path;
use axum::response::Json;
use axum::routing::get;
use mesh_core::Mesh;
use serde::{Deserialize, Serialize};

use crate::instance::Instance;

/// The details of one book, in the words that callers of the well-known demo expect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Details {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) year: u32,
    #[serde(rename = "type")]
    pub(crate) binding: String,
    pub(crate) pages: u32,
    pub(crate) publisher: String,
    pub(crate) language: String,
    #[serde(rename = "ISBN-10")]
    pub(crate) isbn_10: String,
    #[serde(rename = "ISBN-13")]
    pub(crate) isbn_13: String,
}

pub(crate) fn app(_mesh: &Mesh, _instance: &Instance) -> Router {
    Router::new().route("/details/{id}", get(|Path(id): Path<u64>| async move { Json(details(id)) }))
}

/// There is one book; each number is a copy of it.
fn details(id: u64) -> Details {
    Details {
        id,
        author: "William Shakespeare".into(),
        year: 1595,
        binding: "paperback".into(),
        pages: 200,
        publisher: "PublisherA".into(),
        language: "English".into(),
        isbn_10: "1234567890".into(),
        isbn_13: "123-1234567890".into(),
    }
}
