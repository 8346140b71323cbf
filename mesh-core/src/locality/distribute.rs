//! Shares of localities, as a document divides them.

use std::collections::BTreeMap;

use super::{Candidate, Distribute, Standing};

/// One priority; a locality that no share covers is not asked.
pub(super) fn standings(rule: &Distribute, endpoints: &[Candidate<'_>]) -> Vec<Option<Standing>> {
    let mut shares: Vec<&(String, u32)> = rule.to.iter().collect();
    // Who is covered twice counts for the narrower one.
    shares.sort_by_key(|(pattern, _)| {
        std::cmp::Reverse(pattern.split('/').filter(|part| *part != "*").count())
    });
    let share = |endpoint: &Candidate<'_>| shares.iter().position(|(to, _)| endpoint.place.is_in(to));
    let mut totals = vec![0; shares.len()];
    let mut localities: BTreeMap<[&str; 3], u64> = BTreeMap::new();
    for endpoint in endpoints {
        if let Some(at) = share(endpoint) {
            totals[at] += u64::from(endpoint.weight);
            *localities.entry(endpoint.place.parts()).or_default() += u64::from(endpoint.weight);
        }
    }
    let standing = |endpoint: &Candidate<'_>| {
        let at = share(endpoint)?;
        let of_share = localities[&endpoint.place.parts()] * u64::from(shares[at].1);
        let weight = of_share.div_ceil(totals[at].max(1)).max(1);
        Some(Standing { priority: 0, locality_weight: Some(weight.try_into().unwrap_or(u32::MAX)) })
    };
    endpoints.iter().map(standing).collect()
}
