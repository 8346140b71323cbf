//! `mesh split reviews v1=90 v2=10`: the DestinationRule and VirtualService that say so.

use std::fmt::Write;
use std::str::FromStr;

use super::MADE_BY;
use crate::document::qualified;

/// One version's share of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The value of the `version` label.
    pub version: String,
    /// Relative to the sum of all.
    pub weight: u32,
}

/// A service's traffic divided among its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    namespace: String,
    service: String,
    shares: Vec<Share>,
}

/// Why a split cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotASplit {
    /// A share is no `VERSION=WEIGHT`.
    #[error("`{0}` is no share of a split; write VERSION=WEIGHT, such as v2=10")]
    Share(String),
    /// A weight is beyond what a split can say.
    #[error(
        "weight {0} is above {WEIGHT_MAX}; weights are relative to their sum, so divide all of them alike"
    )]
    Weight(u64),
    /// More versions than a split has.
    #[error("{0} versions, the limit is {SHARES_MAX}")]
    TooMany(usize),
    /// A version or service has characters that no label has.
    #[error("`{0}` is no name; letters, digits, `-`, `_` and `.` make one")]
    Name(String),
    /// A version stands twice.
    #[error("version `{0}` stands twice; give each version once")]
    Twice(String),
    /// All weights are zero.
    #[error("all weights are 0, so nothing could be sent anywhere; give one version a weight")]
    Nothing,
}

impl FromStr for Share {
    type Err = NotASplit;

    fn from_str(text: &str) -> Result<Self, NotASplit> {
        let malformed = || NotASplit::Share(text.to_owned());
        let (version, weight) = text.split_once('=').ok_or_else(malformed)?;
        let weight: u64 = weight.trim_end_matches('%').parse().map_err(|_| malformed())?;
        let in_range = u32::try_from(weight).ok().filter(|weight| *weight <= WEIGHT_MAX);
        let weight = in_range.ok_or(NotASplit::Weight(weight))?;
        Ok(Self { version: name(version)?, weight })
    }
}

impl Split {
    /// A split of `service` in `namespace`, in the order of `shares`.
    ///
    /// # Errors
    /// For an illegal name, too many versions, one that stands twice, or weights that are all zero.
    pub fn new(namespace: &str, service: &str, shares: Vec<Share>) -> Result<Self, NotASplit> {
        if shares.len() > SHARES_MAX {
            return Err(NotASplit::TooMany(shares.len()));
        }
        for (index, share) in shares.iter().enumerate() {
            if shares[..index].iter().any(|earlier| earlier.version == share.version) {
                return Err(NotASplit::Twice(share.version.clone()));
            }
        }
        if shares.iter().all(|share| share.weight == 0) {
            return Err(NotASplit::Nothing);
        }
        Ok(Self { namespace: name(namespace)?, service: name(service)?, shares })
    }

    /// The documents that this split replaces, as `Kind/namespace/name`.
    pub fn documents(&self) -> [String; 2] {
        ["DestinationRule", "VirtualService"]
            .map(|kind| format!("{kind}/{}/{}", self.namespace, self.service))
    }

    /// The service's full name.
    pub fn host(&self) -> String {
        qualified(&self.service, &self.namespace)
    }

    /// The versions that get anything.
    pub fn versions(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().filter(|share| share.weight > 0).map(|share| share.version.as_str())
    }

    /// Both documents as YAML.
    pub fn to_yaml(&self) -> String {
        let Self { namespace, service, shares } = self;
        let mut text = String::new();
        for kind in ["DestinationRule", "VirtualService"] {
            let separator = if text.is_empty() { "" } else { "---\n" };
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{separator}apiVersion: networking.istio.io/v1\nkind: {kind}\nmetadata:\n  name: {service}\n  \
                 namespace: {namespace}\n  labels:\n    {MADE_BY}: split\nspec:\n"
            );
            if kind == "DestinationRule" {
                let _ = writeln!(text, "  host: {service}\n  subsets:");
                for Share { version, .. } in shares {
                    let _ = writeln!(text, "  - name: {version}\n    labels:\n      version: \"{version}\"");
                }
            } else {
                let _ = writeln!(text, "  hosts:\n  - {service}");
                // Whatever the service's ports carry.
                for protocol in ["http", "tcp"] {
                    let _ = writeln!(text, "  {protocol}:\n  - route:");
                    for Share { version, weight } in shares {
                        let _ = writeln!(
                            text,
                            "    - destination:\n        host: {service}\n        subset: {version}\n      weight: {weight}"
                        );
                    }
                }
            }
        }
        text
    }
}

/// A split as fine as anybody needs; with so many shares, no sum leaves the 32 bits that xDS has for it.
const WEIGHT_MAX: u32 = 1_000_000;
const SHARES_MAX: usize = 1_000;

/// Label values and object names alike: what cannot be one must not reach YAML.
pub(super) fn name(text: &str) -> Result<String, NotASplit> {
    let legal = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if legal { Ok(text.to_owned()) } else { Err(NotASplit::Name(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(shares: &[&str]) -> Result<Split, NotASplit> {
        let shares = shares.iter().map(|share| share.parse()).collect::<Result<_, _>>()?;
        Split::new("default", "reviews", shares)
    }

    #[test]
    fn shares_become_subsets_and_weights_in_order() {
        let yaml = split(&["v1=90", "v2=10%"]).expect("a legal split").to_yaml();
        let first = yaml.find("subset: v1\n      weight: 90").expect("v1 in the route");
        let second = yaml.find("subset: v2\n      weight: 10").expect("v2 in the route");
        assert!(first < second, "{yaml}");
        assert!(yaml.contains("version: \"v2\""), "{yaml}");
    }

    #[test]
    fn what_is_no_split_is_refused() {
        let check = |shares: &[&str], expected: NotASplit| assert_eq!(split(shares), Err(expected));
        check(&["v1"], NotASplit::Share("v1".into()));
        check(&["v1=many"], NotASplit::Share("v1=many".into()));
        check(&["v1=1", "v1=2"], NotASplit::Twice("v1".into()));
        check(&["v1=0", "v2=0"], NotASplit::Nothing);
        check(&["v1=4294967295", "v2=1"], NotASplit::Weight(4_294_967_295));
        check(&["v1=1000001"], NotASplit::Weight(1_000_001));
        let many: Vec<String> = (0..=SHARES_MAX).map(|version| format!("v{version}=1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        check(&many, NotASplit::TooMany(SHARES_MAX + 1));
        check(&["v 1: x=1"], NotASplit::Name("v 1: x".into()));
    }
}
