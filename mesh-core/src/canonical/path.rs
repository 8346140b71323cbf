//! The request path in canonical form (Istio's normalization levels; ISTIO-FIELDS §2.10).

/// How much is done to a path before it is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathNormalization {
    /// Nothing.
    None,
    /// RFC 3986 dot segments, `\` to `/`, decoding of unreserved characters. Istio's default.
    #[default]
    Base,
    /// Base, then `//` to `/`.
    MergeSlashes,
    /// `%2F` and `%5C` decoded, then as `MergeSlashes`.
    DecodeAndMergeSlashes,
}

/// A path that has been through normalization; nothing else can be matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalPath<'a>(&'a str);

/// A path that cannot be made canonical; the answer is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path cannot be made canonical: {0}")]
pub struct NotCanonical(pub &'static str);

impl<'a> CanonicalPath<'a> {
    /// The path, beginning with `/`, without query.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Makes the path of `uri` canonical in place; a path that already is costs no allocation.
///
/// # Errors
/// For a path that cannot be made canonical, such as one with `%00`.
pub fn canonicalize_uri(
    uri: &mut http::Uri,
    normalization: PathNormalization,
) -> Result<CanonicalPath<'_>, NotCanonical> {
    let _ = (uri, normalization);
    unimplemented!("owned by the core engineer")
}
