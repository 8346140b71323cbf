//! YAML text as a tree of nodes that know their line: the one place that reads YAML.
//!
//! The tree is built on the parser beneath serde-saphyr and not on serde itself, because a user is owed *every* error of
//! a document with its line, and serde stops at the first. Scalars stay text until a field asks for a type: only the
//! field knows whether `1.0` is a version label that wants quotes or a number.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle};

/// A YAML source is at most this long.
pub const SOURCE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// One source holds at most this many documents.
pub const SOURCE_DOCUMENTS_MAX: usize = 20_000;
/// Collections nest at most this deep, aliases counted where they stand.
pub const DEPTH_LEVELS_MAX: usize = 64;
/// One object has at most this many keys.
pub const OBJECT_KEYS_MAX: usize = 10_000;
/// One source holds at most this many nodes after aliases are expanded, so that an alias bomb costs nothing.
pub const SOURCE_NODES_MAX: usize = 2_000_000;

/// A place in a source; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A value together with the place where it was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// One node of a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the node begins.
    pub span: Span,
    /// What it holds.
    pub content: Content,
    /// Nodes in this subtree, itself included.
    nodes: usize,
    /// Levels in this subtree, itself included.
    levels: usize,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// Text that no field has given a type yet; `plain` if it was written without quotes.
    Scalar {
        /// The text after unescaping.
        text: String,
        /// Whether the text was written without quotes, so that `8080` may be a number.
        plain: bool,
    },
    /// A list.
    Sequence(Vec<Arc<Node>>),
    /// An object, in the order written; keys are unique.
    Mapping(Vec<(Spanned<String>, Arc<Node>)>),
}

/// One document of a source.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// The root node.
    pub(super) root: Arc<Node>,
    /// The document's own text, without its `---`.
    pub(super) text: String,
    /// The line of the source on which `text` begins.
    pub(super) first_line: u32,
}

/// Why a source is not YAML that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Malformed {
    /// Where reading stopped.
    pub(super) span: Span,
    /// What is wrong there.
    pub(super) reason: String,
}

impl Node {
    /// Whether the node says "nothing": empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.content, Content::Scalar { text, plain: true }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The entry `key` of a mapping, exactly as written.
    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        match &self.content {
            Content::Mapping(entries) => {
                entries.iter().find(|(name, _)| name.value == key).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// The node as JSON would have it: what `get -o json` prints and what two readings are compared by.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.content {
            Content::Scalar { text, plain } => super::scalar::to_json(text, *plain),
            Content::Sequence(items) => items.iter().map(|item| item.to_json()).collect(),
            Content::Mapping(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, node)| (key.value.clone(), node.to_json())).collect(),
            ),
        }
    }
}

/// Reads every document of `text`. What stands before an error is returned with it, so that one bad document does not
/// hide what the user should know about the others. `first_line` is the line on which `text` begins in its file.
pub(super) fn read(text: &str, first_line: u32) -> (Vec<Tree>, Option<Malformed>) {
    if text.len() > SOURCE_BYTES_MAX {
        let reason = format!("the source has {} bytes; at most {SOURCE_BYTES_MAX} are read", text.len());
        return (Vec::new(), Some(Malformed { span: Span { line: first_line, column: 1 }, reason }));
    }
    let mut builder = Builder {
        text,
        first_line,
        trees: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        start: 0,
        start_line: first_line,
        nodes: 0,
    };
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(Malformed { span: builder.place(error.marker()), reason: error.info() }),
        };
        if let Err(malformed) = step {
            return (builder.trees, Some(malformed));
        }
    }
    (builder.trees, None)
}

/// A collection whose end has not come yet.
struct Open {
    span: Span,
    anchor: usize,
    content: Content,
    /// The keys so far, with their lines.
    keys: HashMap<String, u32>,
    /// The key that waits for its value.
    key: Option<Spanned<String>>,
    /// A `<<` that waits for its mapping.
    merge: bool,
    merged: Vec<(Spanned<String>, Arc<Node>)>,
}

/// Turns parser events into trees.
struct Builder<'a> {
    text: &'a str,
    first_line: u32,
    trees: Vec<Tree>,
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    /// The byte at which the current document's text begins.
    start: usize,
    /// The line of that byte.
    start_line: u32,
    nodes: usize,
}

impl Builder<'_> {
    fn place(&self, marker: &granit_parser::Marker) -> Span {
        let line = u32::try_from(marker.line().max(1)).unwrap_or(u32::MAX);
        let column = u32::try_from(marker.col() + 1).unwrap_or(u32::MAX);
        Span { line: line.saturating_add(self.first_line - 1), column }
    }

    fn take(&mut self, event: Event<'_>, span: granit_parser::Span) -> Result<(), Malformed> {
        let place = self.place(&span.start);
        match event {
            Event::DocumentStart(explicit, _) => {
                // An implicit document begins where the source does, or where the last one ended.
                if explicit {
                    self.begin_text(&span.end);
                }
                self.anchors.clear();
                Ok(())
            }
            Event::DocumentEnd => {
                self.begin_text(&span.end);
                Ok(())
            }
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(malformed(place, "the alias stands inside its own anchor"));
                };
                self.nodes = self.nodes.saturating_add(node.nodes);
                self.close(Node { span: place, ..(*node).clone() }, 0, &span)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let content = Content::Scalar { text: text.into_owned(), plain };
                self.nodes += 1;
                self.close(Node { span: place, content, nodes: 1, levels: 1 }, anchor, &span)
            }
            Event::SequenceStart(_, anchor, _) => self.begin(place, anchor, Content::Sequence(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(place, anchor, Content::Mapping(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            _ => Ok(()),
        }
    }

    fn begin_text(&mut self, marker: &granit_parser::Marker) {
        self.start = marker.byte_offset().unwrap_or(self.text.len());
        self.start_line = self.place(marker).line;
    }

    fn begin(&mut self, span: Span, anchor: usize, content: Content) -> Result<(), Malformed> {
        if let Some(Open { content: Content::Mapping(_), key: None, merge: false, .. }) = self.open.last() {
            return Err(malformed(span, "a key is text, not a list or an object"));
        }
        if self.open.len() >= DEPTH_LEVELS_MAX {
            return Err(malformed(span, format!("collections nest deeper than {DEPTH_LEVELS_MAX} levels")));
        }
        let (keys, merged) = (HashMap::new(), Vec::new());
        self.open.push(Open { span, anchor, content, keys, key: None, merge: false, merged });
        Ok(())
    }

    fn end(&mut self, span: &granit_parser::Span) -> Result<(), Malformed> {
        let Some(mut open) = self.open.pop() else { return Ok(()) };
        if let Content::Mapping(entries) = &mut open.content {
            // What the mapping says itself wins over what `<<` brings.
            for (key, node) in open.merged {
                if open.keys.insert(key.value.clone(), key.span.line).is_none() {
                    entries.push((key, node));
                }
            }
        }
        let (nodes, levels) = match &open.content {
            Content::Scalar { .. } => (0, 0),
            Content::Sequence(items) => measure(items.iter()),
            Content::Mapping(entries) => measure(entries.iter().map(|(_, node)| node)),
        };
        self.nodes += 1;
        let node = Node { span: open.span, content: open.content, nodes: nodes + 1, levels: levels + 1 };
        self.close(node, open.anchor, span)
    }

    /// Puts a finished node where it belongs: into the open collection, or as the root of a document.
    fn close(&mut self, node: Node, anchor: usize, span: &granit_parser::Span) -> Result<(), Malformed> {
        let place = node.span;
        if self.nodes > SOURCE_NODES_MAX {
            return Err(malformed(place, format!("aliases expand to more than {SOURCE_NODES_MAX} nodes")));
        }
        if self.open.len() + node.levels > DEPTH_LEVELS_MAX + 1 {
            return Err(malformed(place, format!("collections nest deeper than {DEPTH_LEVELS_MAX} levels")));
        }
        let node = Arc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        match self.open.last_mut() {
            Some(open) => open.take(node),
            None => self.finish(node, span),
        }
    }

    fn finish(&mut self, root: Arc<Node>, span: &granit_parser::Span) -> Result<(), Malformed> {
        if self.trees.len() >= SOURCE_DOCUMENTS_MAX {
            return Err(malformed(
                root.span,
                format!("more than {SOURCE_DOCUMENTS_MAX} documents in one source"),
            ));
        }
        let end = span.end.byte_offset().unwrap_or(self.text.len()).max(self.start);
        // The text begins on the line after `---`, so that line 1 of it is a line of the file.
        let whole = self.text.get(self.start..end).unwrap_or_default();
        let skipped = whole.len() - whole.trim_start_matches(['\n', '\r']).len();
        let lines_skipped = u32::try_from(whole[..skipped].matches('\n').count()).unwrap_or(u32::MAX);
        let first_line = self.start_line.saturating_add(lines_skipped);
        self.trees.push(Tree { root, text: format!("{}\n", whole[skipped..].trim_end()), first_line });
        Ok(())
    }
}

impl Open {
    fn take(&mut self, node: Arc<Node>) -> Result<(), Malformed> {
        let entries = match &mut self.content {
            Content::Sequence(items) => {
                items.push(node);
                return Ok(());
            }
            Content::Scalar { .. } => return Ok(()),
            Content::Mapping(entries) => entries,
        };
        if std::mem::take(&mut self.merge) {
            return match &node.content {
                Content::Mapping(brought) => {
                    self.merged.extend(brought.iter().cloned());
                    Ok(())
                }
                _ => Err(malformed(node.span, "`<<` wants an object to merge")),
            };
        }
        if entries.len() + self.merged.len() >= OBJECT_KEYS_MAX {
            return Err(malformed(node.span, format!("an object has more than {OBJECT_KEYS_MAX} keys")));
        }
        if let Some(key) = self.key.take() {
            entries.push((key, node));
            return Ok(());
        }
        match &node.content {
            Content::Scalar { text, plain: true } if text == "<<" => self.merge = true,
            Content::Scalar { text, .. } => {
                if let Some(first) = self.keys.insert(text.clone(), node.span.line) {
                    let reason = format!("`{text}` is given twice, first on line {first}");
                    return Err(malformed(node.span, reason));
                }
                self.key = Some(Spanned { value: text.clone(), span: node.span });
            }
            _ => return Err(malformed(node.span, "a key is text, not a list or an object")),
        }
        Ok(())
    }
}

fn measure<'a>(children: impl Iterator<Item = &'a Arc<Node>>) -> (usize, usize) {
    children
        .fold((0, 0), |(nodes, levels), child| (child.nodes.saturating_add(nodes), levels.max(child.levels)))
}

fn malformed(span: Span, reason: impl Into<String>) -> Malformed {
    Malformed { span, reason: reason.into() }
}
