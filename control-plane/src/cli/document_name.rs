//! A document as the command line names it: `KIND`, `KIND/NAME` or `KIND/NAMESPACE/NAME`.

use std::str::FromStr;

use crate::admin::proto::{DocumentName, ListRequest};

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
            [kind, name] => {
                Ok(Self { kind: kind.to_owned(), namespace: owned("default"), name: owned(name) })
            }
            [kind, namespace, name] => {
                Ok(Self { kind: kind.to_owned(), namespace: owned(namespace), name: owned(name) })
            }
            _ => Err(format!("`{text}` has more parts than KIND/NAMESPACE/NAME")),
        }
    }
}

impl Selected {
    /// What to list for it.
    pub(super) fn list(&self, namespace: Option<&str>) -> ListRequest {
        let namespace = self.namespace.as_deref().or(namespace);
        ListRequest {
            kind: self.kind.clone(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: self.name.clone().unwrap_or_default(),
        }
    }

    /// Its full name, where it is one document.
    pub(super) fn one(&self) -> Option<DocumentName> {
        let (namespace, name) = (self.namespace.clone()?, self.name.clone()?);
        Some(DocumentName { kind: self.kind.clone(), namespace, name })
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
}
