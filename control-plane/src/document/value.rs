//! A value on its way from tree to type: it knows where it stands and whom to tell what is wrong with it.
//!
//! A decoder is a function from a value to a type. It looks at the node as what its field wants, an object, a list, a map
//! or text, and whoever wrote something else is told so.

use super::fields::Entry;
use super::reader::Reader;
use super::{Code, Content, Fields, Node, Span, shorten};

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

/// Makes a decoder of objects from what reads their fields.
pub(super) fn object<T: Default>(build: impl Fn(&mut Fields<'_, '_>) -> T) -> impl Fn(Value<'_, '_>) -> T {
    move |value| value.object(&build)
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

    /// Notes a finding at the value.
    pub(super) fn note(&mut self, code: Code, message: impl Into<String>, next: impl Into<String>) {
        self.reader.note(code, self.span, message, next);
    }

    /// Notes that the value cannot be what it is.
    pub(super) fn invalid(&mut self, message: impl Into<String>, next: impl Into<String>) {
        self.note(Code::InvalidValue, message, next);
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
        let Some(entries) = self.mapping("write the fields below it, indented") else { return T::default() };
        let mut fields = Fields::new(self.reader, entries, self.span);
        let value = build(&mut fields);
        fields.finish();
        value
    }

    /// The entries of an object; none of something else, which is noted.
    fn mapping(&mut self, next: &str) -> Option<&'n [Entry]> {
        match self.node.map(|node| &node.content) {
            None => Some(&[]),
            Some(Content::Mapping(entries)) => Some(entries),
            Some(_) if self.node.is_some_and(Node::is_null) => Some(&[]),
            Some(_) => {
                self.wrong_type("an object", next);
                None
            }
        }
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
    pub(super) fn entries<T, C: FromIterator<(String, T)>>(
        mut self,
        mut decode: impl FnMut(&str, Value<'_, 'n>) -> T,
    ) -> C {
        if self.node.is_none() {
            self.reader.within("{}", |reader| decode("", Value { reader, node: None, span: self.span }));
        }
        let entries = self.mapping("write `key: value` lines below it, indented").unwrap_or_default();
        let each = entries.iter().map(|(key, node)| {
            let value = self.reader.within(&format!("[{}]", shorten(&key.value)), |reader| {
                decode(&key.value, Value { reader, node: Some(node), span: key.span })
            });
            (key.value.clone(), value)
        });
        each.collect()
    }
}
