//! String matches and the regular expressions in them.
//!
//! Istio's expressions are RE2's, ours run on Rust's engine. The two agree on nearly all that users write; what they read
//! differently is refused here, because a policy or route that means something else than its author tested is worse
//! than an error (DESIGN §5).

use regex_syntax::ast::{self, Ast};

use super::{Code, Fields, Value, shorten, some_text, text};

/// How a string is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StringMatch {
    /// `{}`: anything, as long as it is there.
    #[default]
    Present,
    /// The whole string.
    Exact(String),
    /// How the string begins.
    Prefix(String),
    /// An expression that matches the whole string.
    Regex(String),
}

impl StringMatch {
    /// Whether it says nothing, or compares with nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(text) | Self::Prefix(text) | Self::Regex(text) => text.is_empty(),
        }
    }
}

/// Reads `{exact: …}`, `{prefix: …}`, `{regex: …}` or `{}`.
pub(super) fn string_match(fields: &mut Fields<'_, '_>) -> StringMatch {
    fields.at_most_one(&["exact", "prefix", "regex"]);
    let exact = fields.optional("exact", text).map(StringMatch::Exact);
    let prefix = fields.optional("prefix", some_text).map(StringMatch::Prefix);
    let regex = fields.optional("regex", regex_or_star);
    exact.or(prefix).or(regex).unwrap_or_default()
}

/// An expression; `*` alone is how many files write "anything".
fn regex_or_star(mut value: Value<'_, '_>) -> StringMatch {
    if text(value.reborrow()) == "*" {
        value.note(Code::Deprecated, "`*` is no expression; it is read as `.*`", "write `.*`");
        return StringMatch::Present;
    }
    StringMatch::Regex(regex(value))
}

/// An expression that RE2 and Rust read alike.
pub(super) fn regex(mut value: Value<'_, '_>) -> String {
    let count = value.reader.findings.len();
    let pattern = text(value.reborrow());
    if value.node.is_some()
        && value.reader.findings.len() == count
        && let Err(reason) = check(&pattern)
    {
        value.invalid(reason, "see RE2's syntax; quote special characters with `\\`");
    }
    pattern
}

/// An expression is at most this long, as in Istio.
pub const REGEX_BYTES_MAX: usize = 1024;
/// RE2 repeats something at most this often.
const REPETITIONS_MAX: u32 = 1000;

fn check(pattern: &str) -> Result<(), String> {
    if pattern.is_empty() {
        return Err("an empty expression matches nothing but nothing".to_owned());
    }
    if pattern.len() > REGEX_BYTES_MAX {
        return Err(format!(
            "the expression has {} bytes, at most {REGEX_BYTES_MAX} are allowed",
            pattern.len()
        ));
    }
    let parsed = ast::parse::ParserBuilder::new().nest_limit(64).build().parse(pattern);
    let parsed =
        parsed.map_err(|error| format!("`{}` is not an expression: {}", shorten(pattern), error.kind()))?;
    ast::visit(&parsed, Differences)?;
    regex_syntax::hir::translate::Translator::new()
        .translate(pattern, &parsed)
        .map_err(|error| format!("`{}` is not an expression: {}", shorten(pattern), error.kind()))?;
    Ok(())
}

/// Finds what RE2 and Rust read differently.
struct Differences;

impl ast::Visitor for Differences {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, node: &Ast) -> Result<(), String> {
        match node {
            Ast::Repetition(repetition) => {
                if matches!(*repetition.ast, Ast::Repetition(_)) {
                    return refuse("one repetition directly after another");
                }
                let most = match &repetition.op.kind {
                    ast::RepetitionKind::Range(ast::RepetitionRange::Exactly(most)) => *most,
                    ast::RepetitionKind::Range(ast::RepetitionRange::AtLeast(least)) => *least,
                    ast::RepetitionKind::Range(ast::RepetitionRange::Bounded(_, most)) => *most,
                    _ => 0,
                };
                let braces = repetition.op.span.end.offset - repetition.op.span.start.offset;
                if most > REPETITIONS_MAX
                    || matches!(
                        repetition.op.kind,
                        ast::RepetitionKind::Range(ast::RepetitionRange::Bounded(0, _))
                    ) && braces == most.to_string().len() + 3
                {
                    return refuse("a repetition without lower bound, or of more than 1000");
                }
                Ok(())
            }
            Ast::Assertion(assertion) => match assertion.kind {
                ast::AssertionKind::StartLine
                | ast::AssertionKind::EndLine
                | ast::AssertionKind::StartText
                | ast::AssertionKind::EndText
                | ast::AssertionKind::WordBoundary
                | ast::AssertionKind::NotWordBoundary => Ok(()),
                _ => refuse("this word boundary"),
            },
            Ast::Flags(flags) => flags_agree(&flags.flags),
            Ast::Group(group) => match &group.kind {
                ast::GroupKind::NonCapturing(flags) => flags_agree(flags),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn visit_class_set_item_pre(&mut self, item: &ast::ClassSetItem) -> Result<(), String> {
        if matches!(item, ast::ClassSetItem::Bracketed(_)) {
            refuse("a class within a class")
        } else {
            Ok(())
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ast::ClassSetBinaryOp) -> Result<(), String> {
        refuse("set operations (`&&`, `--`, `~~`) within a class")
    }
}

fn flags_agree(flags: &ast::Flags) -> Result<(), String> {
    let known = flags.items.iter().all(|item| {
        use ast::Flag::{CaseInsensitive, DotMatchesNewLine, MultiLine, SwapGreed};
        matches!(
            item.kind,
            ast::FlagsItemKind::Negation
                | ast::FlagsItemKind::Flag(CaseInsensitive | MultiLine | DotMatchesNewLine | SwapGreed)
        )
    });
    if known { Ok(()) } else { refuse("a flag other than i, m, s, U") }
}

fn refuse(what: &str) -> Result<(), String> {
    Err(format!("{what}: RE2 and this mesh would read it differently"))
}
