//! What decoders note while they read one document: findings with their field path, and the fields they know.
//!
//! Decoders are total, so they can also be run on nothing at all, which lists their fields. What is honoured is thereby
//! told by the decoders themselves and by no second list that could differ.

use super::spelling::camel_case;
use super::{Code, Finding, Span, Value};

/// What a decoder notes while it reads one document.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Everything found so far.
    pub(super) findings: Vec<Finding>,
    /// Where the decoder is: `spec.http[0]`.
    path: String,
    /// Whether `load_balancer` is read as `loadBalancer`, as the protobuf reader does.
    proto_names: bool,
    /// The fields met, if they are being listed.
    fields: Option<Vec<FieldFact>>,
}

/// One field of a kind and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFact {
    /// The path, with `[]` for list items and `{}` for map values.
    pub path: String,
    /// What this mesh does with it.
    pub support: Support,
}

/// What this mesh does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Its meaning is carried out.
    Honoured,
    /// It is known, checked and refused by name.
    Unsupported,
    /// It is known and changes nothing here.
    NoEffect,
}

impl Reader {
    /// A reader for one document. `proto_names` also takes protobuf's snake_case names.
    pub(super) fn new(proto_names: bool) -> Self {
        Self { proto_names, ..Self::default() }
    }

    /// Lists the fields that `decode` knows, below `path`.
    pub(super) fn listing<T>(path: &str, decode: impl FnOnce(Value<'_, '_>) -> T) -> Vec<FieldFact> {
        let mut reader = Self { path: path.to_owned(), fields: Some(Vec::new()), ..Self::default() };
        decode(Value { reader: &mut reader, node: None, span: Span::default() });
        reader.fields.unwrap_or_default()
    }

    /// Notes a finding at the current path.
    pub(super) fn note(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
        next: impl Into<String>,
    ) {
        // Lists run decoders on nothing, where "a required field is absent" means nothing either.
        if self.fields.is_some() || self.is_full() {
            return;
        }
        let finding =
            Finding { code, field: self.path.clone(), span, message: message.into(), next: next.into() };
        self.findings.push(finding);
        if self.findings.len() == DOCUMENT_FINDINGS_MAX {
            // An error, so that what is not looked at any more is not accepted either.
            self.findings.push(Finding {
                code: Code::TooLarge,
                field: String::new(),
                span,
                message: format!(
                    "more than {DOCUMENT_FINDINGS_MAX} findings; the rest of the document was not looked at"
                ),
                next: "correct these first".to_owned(),
            });
        }
    }

    /// Whether anything has been noted at the current path since there were `before` findings.
    pub(super) fn has_noted_here(&self, before: usize) -> bool {
        self.findings.iter().skip(before).any(|finding| finding.field == self.path)
    }

    /// Whether so much has been found that no more is noted.
    pub(super) fn is_full(&self) -> bool {
        self.findings.len() > DOCUMENT_FINDINGS_MAX
    }

    /// Notes a finding at a part below the current path.
    pub(super) fn note_at(
        &mut self,
        part: &str,
        code: Code,
        span: Span,
        message: impl Into<String>,
        next: impl Into<String>,
    ) {
        self.within(part, |reader| reader.note(code, span, message, next));
    }

    /// Runs `step` with `part` added to the path.
    pub(super) fn within<T>(&mut self, part: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 && !part.starts_with(['[', '{']) {
            self.path.push('.');
        }
        self.path.push_str(part);
        let value = step(self);
        self.path.truncate(length);
        value
    }

    /// Notes that the field at the current path is known.
    pub(super) fn met(&mut self, support: Support) {
        let path = self.path.clone();
        if let Some(fields) = &mut self.fields {
            fields.push(FieldFact { path, support });
        }
    }

    /// Whether fields are listed and no document is read.
    pub(super) fn is_listing(&self) -> bool {
        self.fields.is_some()
    }

    /// Whether `written` is a spelling of the field `name`.
    pub(super) fn spelled(&self, written: &str, name: &str) -> bool {
        written == name || (self.proto_names && written.contains('_') && camel_case(written) == name)
    }
}

/// At most this much is found in one document.
const DOCUMENT_FINDINGS_MAX: usize = 200;
