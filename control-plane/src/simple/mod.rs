//! Documents written for people who have none: `mesh split` and `mesh allow` make them, print them and apply them.

mod allow;
mod split;

pub use allow::{Allow, NotAnAllowance};
pub use split::{NotASplit, Share, Split};

use crate::document::{DocumentSet, Source};

/// The label on every document made here, so that a second run replaces its own work and nobody else's.
const MADE_BY: &str = "proxyless.mesh/made-by";

/// Whether a stored document was made here: its label says so, and not just any text in it. What cannot be read was not.
pub fn is_made_here(text: &str) -> bool {
    let reading = DocumentSet::read(&[Source::file("stored", text)]);
    let mut documents = reading.documents.iter().peekable();
    documents.peek().is_some() && documents.all(|document| document.metadata.labels.contains_key(MADE_BY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_label_says_that_a_document_was_made_here() {
        let shares = vec!["v1=1".parse().expect("a share")];
        let split = Split::new("default", "reviews", shares).expect("a legal split").to_yaml();
        let allow = Allow::new("cluster.local", "a", "b", "*", "*").expect("legal").to_yaml();
        let check = |text: &str, expected: bool| assert_eq!(is_made_here(text), expected, "{text}");
        check(&split, true);
        check(&allow, true);
        let foreign = allow.replace("  labels:\n    proxyless.mesh/made-by: allow\n", "");
        check(&foreign, false);
        check(&format!("# not proxyless.mesh/made-by: allow\n{foreign}"), false);
        check(
            &foreign.replace(
                "namespace: default\n",
                "namespace: default\n  annotations:\n    proxyless.mesh/made-by: me\n",
            ),
            false,
        );
        check(&foreign.replace("service.proxyless.mesh/b", "proxyless.mesh/made-by"), false);
        check("proxyless.mesh/made-by: [", false);
        check("", false);
    }
}
