//! What a rule asks of a request, as the documents' authors mean it (ISTIO-FIELDS 2.2, 2.11): the reference. It knows nothing of
//! the mesh's own types.

use fastrand::Rng;

use super::expression::Expression;
use super::request::Request;

/// How a text is compared.
#[derive(Debug, Clone)]
pub(super) enum Comparison {
    /// It is there.
    Present,
    Exact(String),
    Prefix(String),
    Regex(Expression),
}

/// How a path is compared.
#[derive(Debug, Clone)]
pub(super) enum Path {
    Exact(String),
    /// As raw text (Istio).
    Prefix(String),
    /// By whole segments (Gateway API).
    Segments(String),
    Regex(Expression),
}

/// All that one entry of a rule's matches asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Condition {
    pub(super) path: Option<Path>,
    /// Whether the case of a path that is no expression counts.
    pub(super) ignore_case: bool,
    pub(super) headers: Vec<(&'static str, Comparison)>,
    pub(super) without_headers: Vec<(&'static str, Comparison)>,
    pub(super) query: Vec<(&'static str, Comparison)>,
}

impl Condition {
    /// Whether a request meets all of it.
    pub(super) fn takes(&self, request: &Request) -> bool {
        let header = |(name, wanted): &(&str, Comparison)| {
            request.header(name).is_some_and(|value| wanted.holds(&value))
        };
        let without = |(name, unwanted): &(&str, Comparison)| match (unwanted, request.header(name)) {
            (Comparison::Present, value) => value.is_none(),
            // A header that is missing counts as an empty one.
            (unwanted, value) => !unwanted.holds(&value.unwrap_or_default()),
        };
        let parameter = |(name, wanted): &(&str, Comparison)| match (wanted, request.parameter(name)) {
            (_, None) => false,
            // `exact: ""` asks for the parameter, whatever its value.
            (Comparison::Exact(text), Some(_)) if text.is_empty() => true,
            (wanted, Some(value)) => wanted.holds(value),
        };
        self.path.as_ref().is_none_or(|path| path.takes(&request.path, self.ignore_case))
            && self.headers.iter().all(header)
            && self.without_headers.iter().all(without)
            && self.query.iter().all(parameter)
    }
}

impl Comparison {
    pub(super) fn holds(&self, text: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => text == wanted,
            Self::Prefix(wanted) => text.starts_with(wanted.as_str()),
            Self::Regex(expression) => expression.matches(text),
        }
    }

    /// A text for which it holds.
    pub(super) fn sample(&self, random: &mut Rng) -> String {
        match self {
            Self::Present => random.choice(["", "a", "b1"]).expect("there are some").to_owned(),
            Self::Exact(text) => text.clone(),
            Self::Prefix(text) => {
                format!("{text}{}", random.choice(["", "a", "1b"]).expect("there are some"))
            }
            Self::Regex(expression) => expression.sample(random),
        }
    }
}

impl Path {
    fn takes(&self, path: &str, ignore_case: bool) -> bool {
        let fold = |text: &str| if ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
        match self {
            Self::Exact(wanted) => fold(path) == fold(wanted),
            Self::Prefix(wanted) => fold(path).starts_with(&fold(wanted)),
            Self::Segments(wanted) => {
                let wanted: Vec<&str> = wanted.trim_end_matches('/').split('/').collect();
                let there: Vec<&str> = path.split('/').collect();
                there.starts_with(&wanted)
            }
            // Written for a case, so read in it.
            Self::Regex(expression) => expression.matches(path),
        }
    }

    /// A path that it takes, if any begins with `/`.
    pub(super) fn sample(&self, random: &mut Rng) -> String {
        let rest = |random: &mut Rng| random.choice(["", "/", "/b", "a"]).expect("there are some");
        match self {
            Self::Exact(text) => text.clone(),
            Self::Prefix(text) => format!("{text}{}", rest(random)),
            Self::Segments(text) => format!("{}{}", text.trim_end_matches('/'), rest(random)),
            Self::Regex(expression) => expression.sample(random),
        }
    }
}
