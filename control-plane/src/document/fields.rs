//! Reading a tree by a schema that is the decoder itself, collecting every error with its field path.
//!
//! A kind's decoder names each of its fields once, by what this mesh does with it: `optional`, `required` and `list` read
//! a field that is honoured, `unsupported` reads (and so checks) one that is not honoured yet, `no_effect` one that
//! changes nothing here. Honouring a field later is the change of that one word. Decoders are total: on an error they note a finding and go on with a default, so that a
//! user sees all errors at once; a document with an error is dropped afterwards, so no default is ever acted on.
//! Being total, they can also be run on nothing at all, which lists their fields ([`Reader::listing`]).

use super::finding::{Code, Finding, Verdict};
use super::spelling::{camel_case, nearest, shorten};
use super::yaml::{Content, Node, Span, Spanned};

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

/// A value that waits to be decoded.
#[derive(Debug)]
pub(super) struct Value<'r, 'n> {
    /// Where findings go.
    pub(super) reader: &'r mut Reader,
    /// The node; none when fields are listed.
    pub(super) node: Option<&'n Node>,
    /// Where the value stands: its key, if it has one.
    pub(super) span: Span,
}

/// The fields of one object.
#[derive(Debug)]
pub(super) struct Fields<'r, 'n> {
    /// Where findings go.
    pub(super) reader: &'r mut Reader,
    entries: &'n [(Spanned<String>, std::sync::Arc<Node>)],
    span: Span,
    known: Vec<&'static str>,
    open: bool,
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
        if self.fields.is_none() {
            let (message, next) = (message.into(), next.into());
            self.findings.push(Finding { code, field: self.path.clone(), span, message, next });
        }
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

    fn spelled(&self, written: &str, name: &str) -> bool {
        written == name || (self.proto_names && written.contains('_') && camel_case(written) == name)
    }
}

impl<'n> Value<'_, 'n> {
    /// The same value again, for a decoder that looks twice.
    pub(super) fn reborrow(&mut self) -> Value<'_, 'n> {
        Value { reader: self.reader, node: self.node, span: self.span }
    }

    /// A scalar exactly as written.
    pub(super) fn written(&self) -> Option<&'n str> {
        match &self.node?.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Notes that the value cannot be what it is.
    pub(super) fn invalid(&mut self, message: impl Into<String>, next: impl Into<String>) {
        self.reader.note(Code::InvalidValue, self.span, message, next);
    }

    /// Notes that the value is of another type than `wanted`.
    pub(super) fn wrong_type(&mut self, wanted: &str, next: &str) {
        let found = match self.node.map(|node| &node.content) {
            Some(Content::Mapping(_)) => "an object",
            Some(Content::Sequence(_)) => "a list",
            Some(Content::Scalar { text, .. }) => &format!("`{}`", shorten(text)),
            None => "nothing",
        };
        self.reader.note(Code::WrongType, self.span, format!("wants {wanted}, has {found}"), next);
    }

    /// Reads an object by its fields; whatever `build` has not asked for is an unknown field.
    pub(super) fn object<T: Default>(mut self, build: impl FnOnce(&mut Fields<'_, 'n>) -> T) -> T {
        let entries = match self.node.map(|node| &node.content) {
            None => &[][..],
            Some(Content::Mapping(entries)) => entries,
            Some(_) if self.node.is_some_and(Node::is_null) => &[][..],
            Some(_) => {
                self.wrong_type("an object", "write the fields below it, indented");
                return T::default();
            }
        };
        let mut fields =
            Fields { reader: self.reader, entries, span: self.span, known: Vec::new(), open: false };
        let value = build(&mut fields);
        fields.finish();
        value
    }

    /// Reads a list.
    pub(super) fn items<T>(mut self, mut decode: impl FnMut(Value<'_, 'n>) -> T) -> Vec<T> {
        let items = match self.node.map(|node| &node.content) {
            None => {
                self.reader.within("[]", |reader| decode(Value { reader, node: None, span: self.span }));
                return Vec::new();
            }
            Some(Content::Sequence(items)) => items,
            Some(_) if self.node.is_some_and(Node::is_null) => return Vec::new(),
            Some(_) => {
                self.wrong_type("a list", "put `- ` before each entry");
                return Vec::new();
            }
        };
        let each = items.iter().enumerate().map(|(index, item)| {
            self.reader.within(&format!("[{index}]"), |reader| {
                decode(Value { reader, node: Some(item), span: item.span })
            })
        });
        each.collect()
    }

    /// Reads an object whose keys are the user's own.
    pub(super) fn entries<T>(
        mut self,
        mut decode: impl FnMut(&Spanned<String>, Value<'_, 'n>) -> T,
    ) -> Vec<(Spanned<String>, T)> {
        let entries = match self.node.map(|node| &node.content) {
            None => {
                let key = Spanned::default();
                self.reader
                    .within("{}", |reader| decode(&key, Value { reader, node: None, span: self.span }));
                return Vec::new();
            }
            Some(Content::Mapping(entries)) => entries,
            Some(_) if self.node.is_some_and(Node::is_null) => return Vec::new(),
            Some(_) => {
                self.wrong_type("an object", "write `key: value` lines below it, indented");
                return Vec::new();
            }
        };
        let each = entries.iter().map(|(key, node)| {
            let value = self.reader.within(&format!("[{}]", shorten(&key.value)), |reader| {
                decode(key, Value { reader, node: Some(node), span: key.span })
            });
            (key.clone(), value)
        });
        each.collect()
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
            let span = self.span;
            self.at(name, |reader| {
                reader.note(Code::MissingField, span, "is required and absent", "add the field");
            });
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
                reader.note(Code::UnsupportedField, span, reason, "remove the field to apply the document");
            });
        }
    }

    /// A field that changes nothing without a sidecar, whether or not it is carried out.
    pub(super) fn no_effect<T>(&mut self, name: &'static str, decode: impl FnOnce(Value<'_, 'n>) -> T) {
        if self.take(name, Support::NoEffect, decode).is_some() {
            let span = self.span_of(name);
            self.at(name, |reader| {
                reader.note(Code::NoEffect, span, "has no effect here", "nothing needs to be done");
            });
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
        let span = self.span_of(name);
        if name.is_empty() {
            self.reader.note(code, span, message, next);
        } else {
            self.at(name, |reader| reader.note(code, span, message, next));
        }
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

    fn entry(&self, name: &str) -> Option<&'n (Spanned<String>, std::sync::Arc<Node>)> {
        self.entries.iter().find(|(key, _)| self.reader.spelled(&key.value, name))
    }

    fn take<T>(
        &mut self,
        name: &'static str,
        support: Support,
        decode: impl FnOnce(Value<'_, 'n>) -> T,
    ) -> Option<T> {
        self.known.push(name);
        if self.reader.fields.is_some() {
            return Some(self.at(name, |reader| {
                let path = reader.path.clone();
                reader.fields.get_or_insert_default().push(FieldFact { path, support });
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
    fn finish(self) {
        let mut seen: Vec<&str> = Vec::new();
        for (key, _) in self.entries {
            let Some(name) = self.known.iter().find(|name| self.reader.spelled(&key.value, name)) else {
                if !self.open {
                    let next = match nearest(&key.value, &self.known) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => format!("known fields: {}", self.known.join(", ")),
                    };
                    self.reader.within(&shorten(&key.value), |reader| {
                        reader.note(Code::UnknownField, key.span, "is not a field here", next);
                    });
                }
                continue;
            };
            if seen.contains(name) {
                self.reader.within(name, |reader| {
                    reader.note(Code::Duplicate, key.span, "is given twice, in two spellings", "keep one");
                });
            }
            seen.push(name);
        }
    }
}
