//! Istio's own cases of path normalization, in the folder that `MESH_CORPORA` names; they stay out of this repository.

use std::collections::BTreeMap;
use std::path::PathBuf;

use http::Uri;
use serde::Deserialize;

use super::{PathNormalization, canonicalize_uri};

#[derive(Deserialize)]
struct Group {
    normalization: String,
    /// The path as sent and as the application sees it, or `400`.
    expect: Vec<(String, String)>,
}

#[test]
fn istio_agrees_on_every_path() {
    let Some(folder) = std::env::var_os("MESH_CORPORA") else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "MESH_CORPORA is not set");
        println!("MESH_CORPORA is not set: no case of istio-path-normalization was run");
        return;
    };
    let file = PathBuf::from(folder).join("istio-path-normalization/cases.yaml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let groups: BTreeMap<String, Group> = serde_saphyr::from_str(&text).expect("cases");
    let cases =
        groups.values().flat_map(|group| group.expect.iter().map(|case| (level(&group.normalization), case)));
    let differences: Vec<String> =
        cases.clone().filter_map(|(level, case)| difference(level, case)).collect();
    assert_eq!(differences, Vec::<String>::new());
    assert!(cases.count() >= 171, "cases were left out");
}

fn difference(level: PathNormalization, (sent, expected): &(String, String)) -> Option<String> {
    let seen = match sent.parse::<Uri>() {
        Ok(mut uri) => {
            canonicalize_uri(&mut uri, level).map_or("400".to_owned(), |path| path.as_str().to_owned())
        }
        Err(_) => "400".to_owned(),
    };
    (seen != *expected).then(|| format!("{level:?} {sent}: {seen} instead of {expected}"))
}

fn level(name: &str) -> PathNormalization {
    match name {
        "NONE" => PathNormalization::None,
        "BASE" => PathNormalization::Base,
        "MERGE_SLASHES" => PathNormalization::MergeSlashes,
        "DECODE_AND_MERGE_SLASHES" => PathNormalization::DecodeAndMergeSlashes,
        other => panic!("unknown level {other}"),
    }
}
