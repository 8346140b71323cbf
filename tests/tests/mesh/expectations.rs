//! Users' own expectations of their documents: `mesh test` with the example's file, and with one that is disappointed.

use std::path::Path;

use mesh_tests::process::run;

#[test]
fn expectations_are_met_or_the_deciding_rule_is_named() {
    let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/story");
    let met = story.join("southern-spain.test.yaml");
    let said = run("mesh", &["test", met.to_str().expect("UTF-8")]).success();
    assert!(said.contains("4 passed, 0 failed"), "{said}");

    let folder = tempfile::tempdir().expect("a temporary directory");
    let copy = |name: &str| {
        std::fs::copy(story.join(name), folder.path().join(name)).expect("a copy");
    };
    copy("services.yaml");
    copy("southern-spain.yaml");
    let text = std::fs::read_to_string(&met).expect("the example's file");
    let disappointed = folder.path().join("wrong.test.yaml");
    // Who expects Madrid to meet the feature is told which rule it met.
    let wrong =
        text.replace("destinations: [{subset: v1, odds: 1}]", "destinations: [{subset: v2, odds: 1}]");
    std::fs::write(&disappointed, wrong).expect("a temporary file");
    let path = disappointed.to_str().expect("UTF-8");
    let finished = run("mesh", &["test", path]);
    assert_eq!(finished.code, Some(1), "{}{}", finished.stdout, finished.stderr);
    for words in [
        "FAIL",
        "an iPhone in Madrid does not",
        r#"destinations[0].subset: is "v1", expected "v2""#,
        "routed by VirtualService/default/shop http[1]",
        "southern-spain.yaml:",
        "3 passed, 1 failed",
    ] {
        assert!(finished.stdout.contains(words), "{words} in\n{}", finished.stdout);
    }
    let json = run("mesh", &["test", path, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(report[0]["passed"], false);
    assert_eq!(report[0]["tests"][1]["decision"]["route"]["name"], "everybody-else");

    std::fs::write(folder.path().join("southern-spain.yaml"), "apiVersion: v1\nkind: [\n")
        .expect("a temporary file");
    let rejected = run("mesh", &["test", path]);
    assert_eq!(rejected.code, Some(1));
    assert!(rejected.stderr.contains("southern-spain.yaml:"), "{}", rejected.stderr);
    assert_eq!(run("mesh", &["test"]).code, Some(2));
}
