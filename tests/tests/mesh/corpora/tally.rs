//! What became of a corpus's cases, printed as a table and judged at the end.

use std::collections::BTreeMap;

use super::exception;

/// What became of a case.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The mesh says what the case says.
    Passed,
    /// The mesh refuses a document by name.
    OutOfScope(String),
    /// It says something else.
    Wrong(String),
}

/// The cases of one corpus.
#[derive(Debug)]
pub(crate) struct Tally {
    corpus: &'static str,
    passed: usize,
    out_of_scope: BTreeMap<String, usize>,
    excepted: Vec<String>,
    wrong: Vec<String>,
}

impl Tally {
    pub(crate) fn new(corpus: &'static str) -> Self {
        Self { corpus, passed: 0, out_of_scope: BTreeMap::new(), excepted: Vec::new(), wrong: Vec::new() }
    }

    /// Takes in one case.
    pub(crate) fn case(&mut self, name: &str, outcome: Outcome) {
        match (outcome, exception::reason(self.corpus, name)) {
            (Outcome::Passed, None) => self.passed += 1,
            (Outcome::Passed, Some(_)) => {
                self.wrong.push(format!("{name}: passes and is listed as an exception"))
            }
            (Outcome::OutOfScope(field), _) => *self.out_of_scope.entry(field).or_default() += 1,
            (Outcome::Wrong(_), Some(reason)) => self.excepted.push(format!("{name}: {reason}")),
            (Outcome::Wrong(what), None) => self.wrong.push(format!("{name}: {what}")),
        }
    }

    /// Prints the table. Fails on a wrong answer, and where fewer than `floor` cases passed, so that none is skipped unseen.
    pub(crate) fn finish(self, floor: usize) {
        let skipped: usize = self.out_of_scope.values().sum();
        let Self { corpus, passed, out_of_scope, excepted, wrong } = self;
        println!(
            "{corpus}: {passed} passed, {skipped} out of scope, {} exceptions, {} wrong",
            excepted.len(),
            wrong.len()
        );
        out_of_scope.iter().for_each(|(field, count)| println!("  out of scope {count:>4}  {field}"));
        excepted.iter().for_each(|case| println!("  exception  {case}"));
        wrong.iter().for_each(|case| println!("  WRONG  {case}"));
        assert!(wrong.is_empty(), "{corpus}: {} wrong answers", wrong.len());
        assert!(passed >= floor, "{corpus}: {passed} cases passed, at least {floor} should");
    }
}
