//! `exportTo`: which namespaces see a document or a service (ISTIO-FIELDS §2.1).

/// Who sees something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Its own namespace alone.
    Private,
    /// Nobody.
    None,
    /// The named namespaces; its own only if it is among them.
    Namespaces(Vec<String>),
}

impl Visibility {
    /// Reads an `exportTo` list of a document of `namespace`; an empty one takes the mesh's default.
    pub fn new(export_to: &[String], namespace: &str, default: &[String]) -> Self {
        let entries = if export_to.is_empty() { default } else { export_to };
        let has = |entry: &str| entries.iter().any(|other| other == entry);
        if entries.is_empty() || has("*") {
            return Self::Public;
        }
        if has("~") {
            return Self::None;
        }
        let mut names: Vec<String> = entries
            .iter()
            .map(|name| if name == "." { namespace.to_owned() } else { name.clone() })
            .collect();
        names.sort();
        names.dedup();
        if names == [namespace] { Self::Private } else { Self::Namespaces(names) }
    }

    /// Whether a caller of `caller` sees something of `owner`.
    pub fn includes(&self, caller: &str, owner: &str) -> bool {
        match self {
            Self::Public => true,
            Self::Private => caller == owner,
            Self::None => false,
            Self::Namespaces(names) => names.iter().any(|name| name == caller),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn export_to_says_who_sees() {
        let check = |entries: &[&str], caller: &str, expected: bool| {
            let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
            let visibility = Visibility::new(&entries, "home", &["*".to_owned()]);
            assert_eq!(visibility.includes(caller, "home"), expected, "{entries:?} seen from {caller}");
        };
        check(&[], "other", true);
        check(&["."], "home", true);
        check(&["."], "other", false);
        check(&["other"], "other", true);
        // Named namespaces do not bring the own one along.
        check(&["other"], "home", false);
        check(&[".", "other"], "home", true);
        check(&["~"], "home", false);
        check(&["~", "."], "other", false);
        check(&["*", "~"], "other", true);
    }
}
