//! Calls drawn from words that meet, nearly meet and miss the tables' rules.

use fastrand::Rng;
use serde_json::{Value, json};

/// Tells calls apart where one is made again.
pub(super) const CALL: &str = "x-call";
/// How often a call is to fail before it succeeds.
pub(super) const FAILURES: &str = "x-failures";
/// Services of this beginning never answer.
pub(super) const SILENT: &str = "/silent.";

/// A unary call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) host: &'static str,
    pub(super) path: String,
    pub(super) metadata: Vec<(&'static str, String)>,
}

impl Call {
    /// One that is as likely to meet any rule.
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let host = if rng.u8(..3) == 0 { "plain:9080" } else { "echo:9080" };
        // Calls that wait for their end are few, for the test's time.
        let service = match rng.u8(..100) {
            0 => "silent.Service",
            _ => any(rng, &SERVICES),
        };
        let silent_elsewhere = host == "plain:9080" && service.starts_with("silent");
        let service = if silent_elsewhere { "shop.Cart" } else { service };
        let mut metadata = Vec::new();
        for (name, values) in METADATA {
            if rng.bool() {
                metadata.push((name, any(rng, values).to_owned()));
            }
        }
        // A header may be there twice, and counts as one with both values.
        if rng.u8(..20) == 0 {
            metadata.push(("x-tier", any(rng, TIERS).to_owned()));
        }
        if service.starts_with("flaky.") {
            metadata.push((FAILURES, rng.u8(..5).to_string()));
        }
        Self { host, path: format!("/{service}/{}", any(rng, &METHODS)), metadata }
    }

    /// As `xds_table.py` reads it; `id` tells it from others.
    pub(super) fn line(&self, id: &str) -> Value {
        let metadata: Vec<(&str, &str)> = self.headers(id).collect();
        json!({"host": self.host, "path": self.path, "metadata": metadata})
    }

    pub(super) fn headers<'c>(&'c self, id: &'c str) -> impl Iterator<Item = (&'c str, &'c str)> {
        self.metadata.iter().map(|(name, value)| (*name, value.as_str())).chain([(CALL, id)])
    }
}

fn any<'w>(rng: &mut Rng, words: &[&'w str]) -> &'w str {
    words[rng.usize(..words.len())]
}

const SERVICES: [&str; 18] = [
    "shop.Cart",
    "shop.Cart",
    "shop.Cart",
    "shop.Cartoon",
    "shop.cart",
    "SHOP.Basket",
    "shop.Basket",
    "shop.Users",
    "shop.Orders",
    "shop.Orders",
    "shopXUsers",
    "fault.Grpc",
    "fault.None",
    "fault.Http503",
    "fault.Http404",
    "fault.Late",
    "flaky.Once",
    "flaky.Thrice",
];
const METHODS: [&str; 9] = ["Add", "add", "Drop", "drop", "Get", "GetAll", "ListAll", "Lost", "Additional"];
const TIERS: &[&str] = &["gold", "Gold", "golden", "silver", "sil", "bronze", "copper", "coer", ""];
const METADATA: [(&str, &[&str]); 3] =
    [("x-tier", TIERS), ("x-user", &["a1", "abc12", "abc123", "z9", "A1", ""]), ("x-debug", &["", "yes"])];
