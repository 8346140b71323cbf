//! Reading a tree by a schema that is the decoder itself, collecting every error with its field path.
//!
//! A kind's decoder names each of its fields once, by what this mesh does with it: `optional`, `required` and `list` read
//! a field that is honoured, `unsupported` reads (and so checks) one that is not honoured yet, `no_effect` one that
//! changes nothing here. Honouring a field later is the change of that one word.
//!
//! Decoders are total: on an error they note a finding and go on with a default, so that a user sees all errors at once.
//! A document with an error is dropped afterwards, so no default is ever acted on.

use std::sync::Arc;

use super::reader::Reader;
use super::spelling::nearest;
use super::{Code, Content, Node, Span, Spanned, Support, Value, Verdict, shorten};

/// A key and what it is given.
pub(super) type Entry = (Spanned<String>, Arc<Node>);

/// The fields of one object.
#[derive(Debug)]
pub(super) struct Fields<'r, 'n> {
    /// Where findings go.
    pub(super) reader: &'r mut Reader,
    entries: &'n [Entry],
    span: Span,
    known: Vec<&'static str>,
    open: bool,
}

impl<'r, 'n> Fields<'r, 'n> {
    /// The fields of an object that stands at `span`.
    pub(super) fn new(reader: &'r mut Reader, entries: &'n [Entry], span: Span) -> Self {
        Self { reader, entries, span, known: Vec::new(), open: false }
    }
}

impl<'n> Fields<'_, 'n> {
    /// Where the object stands.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Whether the field is written and not null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|(_, node)| !node.is_null())
    }

    /// Whether the field holds anything: neither absent, null, nor empty.
    pub(super) fn filled(&self, name: &str) -> bool {
        self.entry(name).is_some_and(|(_, node)| match &node.content {
            Content::Scalar { text, .. } => !text.is_empty() && !node.is_null(),
            Content::Sequence(items) => !items.is_empty(),
            Content::Mapping(entries) => !entries.is_empty(),
        })
    }

    /// Whether the field is written as this scalar.
    pub(super) fn wrote(&self, name: &str, wanted: &str) -> bool {
        matches!(self.entry(name).map(|(_, node)| &node.content), Some(Content::Scalar { text, .. }) if text == wanted)
    }

    /// Where the field stands, or the object if it is absent.
    pub(super) fn span_of(&self, name: &str) -> Span {
        self.entry(name).map_or(self.span, |(key, _)| key.span)
    }

    /// A field that may be absent, which is `None`.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(Value<'_, 'n>) -> T,
    ) -> Option<T> {
        self.take(name, Support::Honoured, decode)
    }

    /// A field that must be there.
    pub(super) fn required<T: Default>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(Value<'_, 'n>) -> T,
    ) -> T {
        if !self.has(name) {
            self.reader.note_at(
                name,
                Code::MissingField,
                self.span,
                "is required and absent",
                "add the field",
            );
        }
        self.optional(name, decode).unwrap_or_default()
    }

    /// A field whose absence is its type's default.
    pub(super) fn or_default<T: Default>(
        &mut self,
        name: &'static str,
        decode: impl FnOnce(Value<'_, 'n>) -> T,
    ) -> T {
        self.optional(name, decode).unwrap_or_default()
    }

    /// A list; absent is empty.
    pub(super) fn list<T>(&mut self, name: &'static str, decode: impl FnMut(Value<'_, 'n>) -> T) -> Vec<T> {
        self.or_default(name, |value| value.items(decode))
    }

    /// A field that is known and checked, but not honoured yet.
    pub(super) fn unsupported<T>(&mut self, name: &'static str, decode: impl FnOnce(Value<'_, 'n>) -> T) {
        self.refuse(name, "is not honoured by this mesh yet", decode);
    }

    /// A field that means something only at a gateway.
    pub(super) fn gateway_only<T>(&mut self, name: &'static str, decode: impl FnOnce(Value<'_, 'n>) -> T) {
        self.refuse(name, "has a meaning only at a gateway, which this mesh does not have yet", decode);
    }

    fn refuse<T>(&mut self, name: &'static str, reason: &str, decode: impl FnOnce(Value<'_, 'n>) -> T) {
        let before = self.reader.findings.len();
        if self.take(name, Support::Unsupported, decode).is_some() {
            // The field as a whole is refused; that its parts are too would be said twice.
            let mut index = 0;
            self.reader.findings.retain(|finding| {
                index += 1;
                index <= before || finding.code.verdict() == Verdict::Invalid
            });
            let span = self.span_of(name);
            self.at(name, |reader| {
                // A field that is wrong as a whole has been refused for that already.
                if !reader.has_noted_here(before) {
                    reader.note(
                        Code::UnsupportedField,
                        span,
                        reason,
                        "remove the field to apply the document",
                    );
                }
            });
        }
    }

    /// A field that changes nothing without a sidecar, whether or not it is carried out.
    pub(super) fn no_effect<T>(&mut self, name: &'static str, decode: impl FnOnce(Value<'_, 'n>) -> T) {
        if self.take(name, Support::NoEffect, decode).is_some() {
            self.note(Code::NoEffect, name, "has no effect here", "nothing needs to be done");
        }
    }

    /// Notes that a field, though it works, is one to move away from.
    pub(super) fn deprecated(&mut self, name: &'static str, instead: &str) {
        if self.has(name) {
            let next = format!("use {instead}");
            self.note(Code::Deprecated, name, "is deprecated", next);
        }
    }

    /// Lets unknown fields pass: for Kubernetes kinds of which the mesh reads only a few facts.
    pub(super) fn ignore_the_rest(&mut self) {
        self.open = true;
    }

    /// Notes a finding at the field `name`, or at the object if that is empty or absent.
    pub(super) fn note(
        &mut self,
        code: Code,
        name: &str,
        message: impl Into<String>,
        next: impl Into<String>,
    ) {
        match name {
            "" => self.reader.note(code, self.span, message, next),
            name => self.reader.note_at(name, code, self.span_of(name), message, next),
        }
    }

    /// Notes that the field is wanted and not there.
    pub(super) fn missing(&mut self, name: &str, message: impl Into<String>, next: impl Into<String>) {
        self.note(Code::MissingField, name, message, next);
    }

    /// Notes that the field cannot be what it is.
    pub(super) fn invalid(&mut self, name: &str, message: impl Into<String>, next: impl Into<String>) {
        self.note(Code::InvalidValue, name, message, next);
    }

    /// Notes that the field does not go with another.
    pub(super) fn conflict(&mut self, name: &str, message: impl Into<String>, next: impl Into<String>) {
        self.note(Code::Conflict, name, message, next);
    }

    /// Notes that the field is good, and asks for what this mesh does not do yet.
    pub(super) fn not_honoured(&mut self, name: &str, message: impl Into<String>, next: impl Into<String>) {
        self.note(Code::UnsupportedField, name, message, next);
    }

    /// Notes that the field is taken, and probably not meant so.
    pub(super) fn suspicious(&mut self, name: &str, message: impl Into<String>, next: impl Into<String>) {
        self.note(Code::Suspicious, name, message, next);
    }

    /// Refuses an object in which more than one of `names` is set.
    pub(super) fn at_most_one(&mut self, names: &[&'static str]) {
        let set: Vec<&str> = names.iter().copied().filter(|name| self.has(name)).collect();
        if let [first, second, ..] = set[..] {
            self.note(
                Code::Conflict,
                second,
                format!("excludes `{first}`"),
                format!("keep one of {}", names.join(", ")),
            );
        }
    }

    /// Refuses an object in which not exactly one of `names` is set.
    pub(super) fn exactly_one(&mut self, names: &[&'static str]) {
        self.at_most_one(names);
        if !names.iter().any(|name| self.has(name)) {
            let choice = names.join(", ");
            self.note(Code::MissingField, "", format!("wants one of {choice}"), "add one of them");
        }
    }

    fn at<T>(&mut self, name: &str, step: impl FnOnce(&mut Reader) -> T) -> T {
        self.reader.within(name, step)
    }

    fn entry(&self, name: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|(key, _)| self.reader.spelled(&key.value, name))
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        support: Support,
        decode: impl FnOnce(Value<'_, 'n>) -> T,
    ) -> Option<T> {
        self.known.push(name);
        if self.reader.is_listing() {
            return Some(self.at(name, |reader| {
                reader.met(support);
                decode(Value { reader, node: None, span: Span::default() })
            }));
        }
        let (key, node) = self.entry(name)?;
        // Null is absent, as in Kubernetes.
        if node.is_null() {
            return None;
        }
        let scalar = matches!(node.content, Content::Scalar { .. });
        let span = if scalar { node.span } else { key.span };
        Some(self.at(name, |reader| decode(Value { reader, node: Some(node), span })))
    }

    /// Notes what nobody asked for, and what was written in both spellings.
    pub(super) fn finish(self) {
        let mut seen: Vec<&str> = Vec::new();
        for (key, _) in self.entries {
            if self.reader.is_full() {
                return;
            }
            let Some(name) = self.known.iter().find(|name| self.reader.spelled(&key.value, name)) else {
                if !self.open {
                    let next = match nearest(&key.value, &self.known) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("known fields: {}", self.known.join(", ")),
                    };
                    let name = shorten(&key.value);
                    self.reader.note_at(&name, Code::UnknownField, key.span, "is not a field here", next);
                }
                continue;
            };
            if seen.contains(name) {
                let message = "is given twice, in two spellings";
                self.reader.note_at(name, Code::Duplicate, key.span, message, "keep one");
            }
            seen.push(name);
        }
    }
}
