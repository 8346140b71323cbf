//! What reading a document can find fault with, in the words that an operator acts on.
//!
//! Every finding names field, place, reason and next step, because a message without the next step is a riddle. The code
//! is stable, so that a user's CI can allow one kind of warning and no other.

use serde::Serialize;

use super::Span;

/// One remark about one place of a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// What kind of remark it is.
    pub code: Code,
    /// The field's path, such as `spec.http[0].match[1].uri`; empty for the document as a whole.
    pub field: String,
    /// Where it is.
    pub span: Span,
    /// What is the matter.
    pub message: String,
    /// What to do about it.
    pub next: String,
}

/// The kinds of remark, with stable names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The text is not YAML.
    MalformedYaml,
    /// A source is larger, or holds more, than is read.
    TooLarge,
    /// A kind that its API group does not have.
    UnknownKind,
    /// A kind that is skipped, and is probably one of the mesh's with its group or name misspelled.
    MisspelledKind,
    /// A version of a known kind that is not served.
    UnknownVersion,
    /// A field that the kind does not have.
    UnknownField,
    /// A value of another type than the field's.
    WrongType,
    /// A required field is absent.
    MissingField,
    /// A value that the field cannot have.
    InvalidValue,
    /// Fields that exclude each other, or that need each other.
    Conflict,
    /// The same thing is given twice.
    Duplicate,
    /// A subset that no DestinationRule defines.
    DanglingSubset,
    /// A kind that this mesh does not have yet.
    UnsupportedKind,
    /// A field that this mesh does not honour yet.
    UnsupportedField,
    /// A field that changes nothing here.
    NoEffect,
    /// A document that is kept, but acts only at a gateway.
    Inert,
    /// A field whose use is discouraged.
    Deprecated,
    /// Something that is allowed and probably not meant.
    Suspicious,
    /// A host that no document knows.
    UnknownHost,
    /// A backend of another namespace, which no ReferenceGrant gives to the route.
    NotGranted,
    /// An older document of the same host wins.
    Shadowed,
    /// Connected clients of another kind leave something out.
    ForeignClient,
    /// A document that carries no mesh configuration.
    Skipped,
}

/// How grave a remark is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a line, no more.
    Notice,
    /// The document is taken; its author should look at this.
    Warning,
    /// The document is refused.
    Error,
}

/// What `mesh validate` says about a document as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Taken, with nothing to say or notices only.
    Valid,
    /// Taken, with warnings.
    Warning,
    /// A good document with something that this mesh does not have.
    Unsupported,
    /// A bad document.
    Invalid,
}

impl Code {
    /// The verdict on a document about which this is the gravest remark.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::UnsupportedKind | Self::UnsupportedField => Verdict::Unsupported,
            Self::NoEffect
            | Self::Inert
            | Self::MisspelledKind
            | Self::Deprecated
            | Self::Suspicious
            | Self::UnknownHost
            | Self::NotGranted
            | Self::Shadowed
            | Self::ForeignClient => Verdict::Warning,
            Self::Skipped => Verdict::Valid,
            _ => Verdict::Invalid,
        }
    }

    /// How grave a remark of this kind is.
    pub fn severity(self) -> Severity {
        match self.verdict() {
            Verdict::Valid => Severity::Notice,
            Verdict::Warning => Severity::Warning,
            Verdict::Unsupported | Verdict::Invalid => Severity::Error,
        }
    }

    /// The stable name, as in JSON.
    pub fn name(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
    }
}

impl Severity {
    /// The word for it, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Verdict {
    /// The gravest verdict among `findings`.
    pub fn of<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        findings.into_iter().map(|finding| finding.code.verdict()).max().unwrap_or(Self::Valid)
    }

    /// Whether the document may be applied.
    pub fn accepts(self) -> bool {
        self <= Self::Warning
    }
}
