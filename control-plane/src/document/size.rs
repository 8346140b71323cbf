//! How large one document may be: as large as the store's values, so that what is judged good can also be kept.

use super::yaml::Tree;
use super::{Code, Finding};

/// One document has at most this many bytes, counted as it is stored: in JSON, where a quote and the end of a line take two.
pub const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// What the store keeps beside file and text.
const ENVELOPE_BYTES: usize = 128;

/// Refuses a document that is too large to be kept, before anything is spent on what it says.
pub(super) fn check(file: &str, tree: &Tree) -> Option<Finding> {
    let bytes = ENVELOPE_BYTES + in_json(file) + in_json(&tree.text);
    (bytes > DOCUMENT_BYTES_MAX).then(|| Finding {
        code: Code::TooLarge,
        field: String::new(),
        span: tree.root.span,
        message: format!(
            "the document takes {bytes} bytes to store, and was not looked at; at most {DOCUMENT_BYTES_MAX} are kept"
        ),
        next: "split it into several documents".to_owned(),
    })
}

fn in_json(text: &str) -> usize {
    let byte = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(byte).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_as_json_writes_them() {
        for text in ["a\nb", "\"\\\t\r", "\u{1}\u{8}\u{c}\u{1f}", "ü\u{7f}"] {
            let json = serde_json::to_string(text).expect("a string");
            assert_eq!(in_json(text) + 2, json.len(), "{json}");
        }
    }
}
