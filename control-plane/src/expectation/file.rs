//! A file of expectations, read: every request is one that can be asked, and each expects something.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

use crate::explain::Question;

/// Expectations of some documents.
#[derive(Debug, Clone)]
pub struct TestFile {
    /// Its name, for reports.
    pub name: String,
    /// Files and folders of documents, as seen from the file's own folder.
    pub documents: Vec<String>,
    pub(super) cases: Vec<Case>,
}

/// One request and what has to become of it.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) line: u64,
    pub(super) question: Question,
    pub(super) expected: Value,
}

/// Why a file is no file of expectations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotATest {
    /// Not the form of such a file.
    #[error("{file}: {problem}; next: write it as `mesh test --help` shows")]
    Malformed {
        /// The file.
        file: String,
        /// What the reader says, with its line.
        problem: String,
    },
    /// A test is not one.
    #[error("{file}:{line}: `{name}`: {problem}")]
    Case {
        /// The file.
        file: String,
        /// Where the test begins.
        line: u64,
        /// The test's name.
        name: String,
        /// What is wrong with it.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    documents: Vec<String>,
    tests: Vec<Spanned<WrittenCase>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    name: String,
    request: Value,
    expect: Map<String, Value>,
}

impl TestFile {
    /// Reads the text of the file `name`.
    ///
    /// # Errors
    /// Where it has another form, a request cannot be asked, or an expectation names what no decision has.
    pub fn parse(name: &str, text: &str) -> Result<Self, NotATest> {
        let malformed = |problem: String| NotATest::Malformed { file: name.to_owned(), problem };
        if text.len() > FILE_BYTES_MAX {
            return Err(malformed(format!("more than {FILE_BYTES_MAX} bytes")));
        }
        let written: Written = serde_saphyr::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if written.tests.is_empty() {
            return Err(malformed("there is no test in it".to_owned()));
        }
        let cases = written.tests.into_iter().map(|test| {
            let line = test.referenced.line();
            let case = test.value;
            Case::read(case, line).map_err(|(case, problem)| NotATest::Case {
                file: name.to_owned(),
                line,
                name: case,
                problem,
            })
        });
        let cases = cases.collect::<Result<_, _>>()?;
        Ok(Self { name: name.to_owned(), documents: written.documents, cases })
    }
}

impl Case {
    fn read(written: WrittenCase, line: u64) -> Result<Self, (String, String)> {
        let WrittenCase { name, request, expect } = written;
        if expect.is_empty() {
            let problem = "`expect` is empty, so that nothing could fail; name what has to be so";
            return Err((name, problem.to_owned()));
        }
        let question = spelled_out(request).and_then(|request| {
            serde_json::from_value(request).map_err(|problem| format!("`request`: {problem}"))
        });
        match question {
            Ok(question) => Ok(Self { name, line, question, expected: Value::Object(expect) }),
            Err(problem) => Err((name, problem)),
        }
    }
}

/// A request as the contract has it, from the shorter ways in which people write one.
fn spelled_out(request: Value) -> Result<Value, String> {
    let mut fields = match request {
        Value::String(line) => {
            let (method, url) = line.trim().split_once(' ').ok_or("`request` is not `METHOD URL`")?;
            let protocol = if url.starts_with("tcp://") { "tcp" } else { "http" };
            return Ok(json!({"method": method, "url": url.trim(), "protocol": protocol}));
        }
        Value::Object(fields) => fields,
        _ => return Err("`request` is neither `METHOD URL` nor a mapping".to_owned()),
    };
    if let Some(Value::Object(headers)) = fields.get_mut("headers") {
        let pairs = headers.iter().map(|(name, value)| json!([name, value])).collect();
        fields.insert("headers".to_owned(), Value::Array(pairs));
    }
    for side in ["from", "at"] {
        if let Some(Value::String(words)) = fields.get(side) {
            let (namespace, account) =
                words.split_once('/').ok_or_else(|| format!("`{side}` is not NAMESPACE/SERVICE_ACCOUNT"))?;
            let workload = json!({"namespace": namespace, "service_account": account});
            fields.insert(side.to_owned(), workload);
        }
    }
    Ok(Value::Object(fields))
}

/// The largest file that is read.
const FILE_BYTES_MAX: usize = 4 << 20;
