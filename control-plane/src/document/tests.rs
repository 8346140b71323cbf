//! Rows of documents and what is said about them.

use super::*;

#[test]
fn scratch() {
    let Ok(path) = std::env::var("SCRATCH") else { return };
    let source = Source::file(path.clone(), std::fs::read_to_string(path).unwrap());
    let reading = DocumentSet::read(&[source]);
    for report in &reading.reports {
        println!("{:?} {:?} {:?}", report.document, report.span.line, report.verdict());
        for f in &report.findings {
            println!("   {:?} {} {} | {} | {}", f.code, report.at(f.span), f.field, f.message, f.next);
        }
    }
    for f in check_whole(&reading.documents, &Default::default()) {
        println!("{} {:?}", f.document, f.finding);
    }
}
