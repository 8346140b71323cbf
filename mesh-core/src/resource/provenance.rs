//! Which document, rule and line a piece of configuration came from (`filter_metadata["proxyless.mesh"]`).

use std::fmt;
use std::sync::Arc;

/// The key under which our facts stand in `filter_metadata`.
pub const METADATA_KEY: &str = "proxyless.mesh";

/// The version of our metadata; another one is read for what is known of it.
pub const METADATA_VERSION: u32 = 1;

/// Where a piece of configuration came from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// `VirtualService/default/reviews`; absent for what the mesh made by itself.
    pub document: Option<Arc<str>>,
    /// `http[1]`.
    pub rule: Option<Arc<str>>,
    /// The rule's own name.
    pub name: Option<Arc<str>>,
    /// `reviews.yaml:14`.
    pub at: Option<Arc<str>>,
}

/// `VirtualService/default/reviews http[1] (reviews.yaml:14)`, as far as it is known.
impl fmt::Display for Provenance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.document.as_deref().unwrap_or("the mesh's default"))?;
        if let Some(rule) = &self.rule {
            write!(out, " {rule}")?;
        }
        match &self.at {
            Some(at) => write!(out, " ({at})"),
            None => Ok(()),
        }
    }
}

impl Provenance {
    /// Names the rule in a trace; the document is said only where it differs from the one named before.
    pub(crate) fn label_after(&self, document: Option<&Arc<str>>) -> String {
        let rule = self.rule.as_deref().unwrap_or("default route");
        match &self.document {
            Some(own) if Some(own) != document => format!("{own} {rule}"),
            _ => rule.to_owned(),
        }
    }
}
