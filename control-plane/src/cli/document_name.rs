//! A document as the command line names it: `KIND`, `KIND/NAME` or `KIND/NAMESPACE/NAME`.

use std::str::FromStr;

use crate::admin::proto::{DocumentName, ListRequest};
use crate::document::DEFAULT_NAMESPACE;

/// One document, or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selected {
    kind: String,
    namespace: Option<String>,
    name: Option<String>,
}

impl FromStr for Selected {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split('/').collect();
        if words.iter().any(|word| word.is_empty()) {
            return Err(format!(
                "`{text}` names no document; write VirtualService/reviews or VirtualService/default/reviews"
            ));
        }
        let owned = |word: &str| Some(word.to_owned());
        match words[..] {
            [kind] => Ok(Self { kind: kind.to_owned(), namespace: None, name: None }),
            [kind, name] => Ok(Self { kind: kind.to_owned(), namespace: None, name: owned(name) }),
            [kind, namespace, name] => {
                Ok(Self { kind: kind.to_owned(), namespace: owned(namespace), name: owned(name) })
            }
            _ => Err(format!("`{text}` has more parts than KIND/NAMESPACE/NAME")),
        }
    }
}

impl Selected {
    /// In this namespace, which was said beside it.
    ///
    /// # Errors
    /// Where it names another one itself.
    pub(super) fn within(self, namespace: &str) -> Result<Self, String> {
        match self.namespace {
            Some(own) if own != namespace => Err(format!(
                "namespace `{own}` of the name and `{namespace}` of -n contradict each other; leave one out"
            )),
            _ => Ok(Self { namespace: Some(namespace.to_owned()), ..self }),
        }
    }

    /// What to list for it.
    pub(super) fn list(&self) -> ListRequest {
        match self.one() {
            Some(DocumentName { kind, namespace, name }) => ListRequest { kind, namespace, name },
            None => ListRequest {
                kind: self.kind.clone(),
                namespace: self.namespace.clone().unwrap_or_default(),
                name: String::new(),
            },
        }
    }

    /// Its full name, where it is one document; without a namespace it is of the default one.
    pub(super) fn one(&self) -> Option<DocumentName> {
        let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE).to_owned();
        Some(DocumentName { kind: self.kind.clone(), namespace, name: self.name.clone()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_namespace_is_of_the_default_one() {
        let check = |text: &str, expected: Option<&str>| {
            let one = text.parse::<Selected>().expect("a name").one();
            assert_eq!(
                one.map(|name| format!("{}/{}/{}", name.kind, name.namespace, name.name)).as_deref(),
                expected
            );
        };
        check("VirtualService/reviews", Some("VirtualService/default/reviews"));
        check("VirtualService/shop/reviews", Some("VirtualService/shop/reviews"));
        check("VirtualService", None);
        assert!("VirtualService//x".parse::<Selected>().is_err());
        assert!("a/b/c/d".parse::<Selected>().is_err());
    }

    #[test]
    fn a_namespace_beside_the_name_completes_it_and_never_contradicts() {
        let check = |text: &str, namespace: &str, expected: Result<(&str, &str, &str), &str>| {
            let within = text.parse::<Selected>().expect("a name").within(namespace);
            match (within.map(|selected| selected.list()), expected) {
                (Ok(list), Ok(expected)) => {
                    assert_eq!((&*list.kind, &*list.namespace, &*list.name), expected)
                }
                (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
                (found, _) => panic!("{text} -n {namespace}: {found:?}"),
            }
        };
        check("VirtualService", "shop", Ok(("VirtualService", "shop", "")));
        check("VirtualService/reviews", "shop", Ok(("VirtualService", "shop", "reviews")));
        check("VirtualService/shop/reviews", "shop", Ok(("VirtualService", "shop", "reviews")));
        check("VirtualService/shop/reviews", "other", Err("`shop` of the name and `other` of -n"));
    }
}
