//! Which fields need a case: those that the decoders themselves call honoured, each kind of document by its own.

use control_plane::document::{FieldFact, Kind, Support, known_fields};

use super::case::Case;
use super::reasons::Reason;

/// The kinds whose fields are flipped.
pub(super) const KINDS: [Kind; 11] = [
    Kind::MeshSettings,
    Kind::Service,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::HttpRoute,
    Kind::GrpcRoute,
    Kind::ReferenceGrant,
    Kind::PeerAuthentication,
    Kind::AuthorizationPolicy,
];

/// The fields of a kind that do something, below `spec`: those honoured in no field that is not, and without those that are
/// nothing but their parts.
pub(super) fn honoured(kind: Kind) -> Vec<String> {
    let fields = known_fields(kind);
    let (live, dead): (Vec<FieldFact>, Vec<FieldFact>) =
        fields.into_iter().partition(|field| field.support == Support::Honoured);
    let live: Vec<String> = live
        .into_iter()
        .map(|field| field.path)
        .filter(|path| !dead.iter().any(|dead| is_within(path, &dead.path)))
        .collect();
    let whole = live.iter().filter(|path| !live.iter().any(|other| other != *path && is_within(other, path)));
    whole.map(|path| path.trim_start_matches("spec.").to_owned()).collect()
}

/// What is wrong with the table of a kind: fields without a case, cases without a field, reasons that explain nothing.
pub(super) fn mistakes(kind: Kind, cases: &[Case], reasons: &[Reason]) -> Vec<String> {
    let fields = honoured(kind);
    let has_case = |field: &String| cases.iter().any(|case| case.field == **field);
    let has_reason = |field: &String| reasons.iter().any(|reason| is_within(field, reason.field));
    let mut found = Vec::new();
    for field in &fields {
        match (has_case(field), has_reason(field)) {
            (false, false) => found.push(format!("{}: {field} has no case", kind.name())),
            (true, true) => found.push(format!("{}: {field} has a case, and a reason for none", kind.name())),
            _ => {}
        }
    }
    let strange = cases
        .iter()
        .map(|case| case.field.as_str())
        .filter(|field| !fields.iter().any(|known| known == field));
    found
        .extend(strange.map(|field| format!("{}: {field} has a case and is no honoured field", kind.name())));
    let idle = reasons.iter().filter(|reason| !fields.iter().any(|field| is_within(field, reason.field)));
    found.extend(
        idle.map(|reason| format!("{}: {} has a reason and is no honoured field", kind.name(), reason.field)),
    );
    found
}

/// Whether a path is another one or in it.
fn is_within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']))
}
