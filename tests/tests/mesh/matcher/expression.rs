//! Random regular expressions that know by themselves what they match, so that no engine has a say in the reference.

use std::fmt;

use fastrand::Rng;

const LETTERS: &str = "ab1A+";

/// An expression as its tree.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    /// A character.
    Letter(char),
    /// Any character.
    Any,
    /// One of these characters.
    Class(&'static str),
    /// One after the other.
    Sequence(Vec<Expression>),
    /// One of these.
    Either(Vec<Expression>),
    /// The same again and again.
    Repeated { of: Box<Expression>, least: usize, most: Option<usize> },
}

impl Expression {
    /// An expression over few characters; `depth` bounds how far it nests.
    pub(super) fn random(random: &mut Rng, depth: usize) -> Self {
        let nested = |random: &mut Rng| Self::random(random, depth.saturating_sub(1));
        let several = |random: &mut Rng| (0..random.usize(2..4)).map(|_| nested(random)).collect();
        match random.u8(0..if depth == 0 { 6 } else { 12 }) {
            0..4 => Self::Letter(pick(random, LETTERS)),
            4 => Self::Any,
            5 => Self::Class(random.choice(["ab", "A1", "a1+"]).expect("there are some")),
            6 | 7 => Self::Sequence(several(random)),
            8 | 9 => Self::Either(several(random)),
            _ => {
                let (least, most) = random
                    .choice([(0, None), (1, None), (0, Some(1)), (1, Some(2)), (2, Some(2))])
                    .expect("there are some");
                Self::Repeated { of: Box::new(nested(random)), least, most }
            }
        }
    }

    /// The same behind a slash, as paths are.
    pub(super) fn path(random: &mut Rng) -> Self {
        let rest = Self::random(random, 3);
        match random.u8(0..6) {
            // What begins anywhere but at the root matches no path, or must not.
            0 => rest,
            1 => Self::Either(vec![Self::Sequence(vec![Self::Letter('/'), rest]), Self::Letter('/')]),
            2 => {
                let anything = Self::Repeated { of: Box::new(Self::Any), least: 0, most: None };
                Self::Sequence(vec![Self::Letter('/'), rest, anything])
            }
            _ => Self::Sequence(vec![Self::Letter('/'), rest]),
        }
    }

    /// One of these texts.
    pub(super) fn one_of(texts: &[&str]) -> Self {
        let letters = |text: &&str| Self::Sequence(text.chars().map(Self::Letter).collect());
        Self::Either(texts.iter().map(letters).collect())
    }

    /// Whether it matches the whole text.
    pub(super) fn matches(&self, text: &str) -> bool {
        assert!(text.len() < 128, "`{text}` is longer than there are bits");
        self.after(text.as_bytes(), 1) & 1 << text.len() != 0
    }

    /// Where it may end, of all the places where it may begin; a bit for each place of the text.
    fn after(&self, text: &[u8], begins: u128) -> u128 {
        let step = |wanted: &dyn Fn(u8) -> bool| {
            let fits = text.iter().enumerate().filter(|(at, byte)| begins & 1 << at != 0 && wanted(**byte));
            fits.fold(0, |ends, (at, _)| ends | 1 << (at + 1))
        };
        match self {
            Self::Letter(letter) => step(&|byte| char::from(byte) == *letter),
            Self::Any => step(&|_| true),
            Self::Class(class) => step(&|byte| class.contains(char::from(byte))),
            Self::Sequence(parts) => parts.iter().fold(begins, |begins, part| part.after(text, begins)),
            Self::Either(parts) => parts.iter().fold(0, |ends, part| ends | part.after(text, begins)),
            Self::Repeated { of, least, most } => {
                let mut ends = if *least == 0 { begins } else { 0 };
                let mut here = begins;
                // More often than the text is long it goes nowhere new.
                for times in 1..=most.unwrap_or(least + text.len()) {
                    here = of.after(text, here);
                    ends |= if times >= *least { here } else { 0 };
                }
                ends
            }
        }
    }

    /// A text that it matches.
    pub(super) fn sample(&self, random: &mut Rng) -> String {
        match self {
            Self::Letter(letter) => letter.to_string(),
            Self::Any => pick(random, LETTERS).to_string(),
            Self::Class(class) => pick(random, class).to_string(),
            Self::Sequence(parts) => parts.iter().map(|part| part.sample(random)).collect(),
            Self::Either(parts) => random.choice(parts).expect("there are some").sample(random),
            Self::Repeated { of, least, most } => {
                let times = random.usize(*least..=most.unwrap_or(least + 1));
                (0..times).map(|_| of.sample(random)).collect()
            }
        }
    }

    /// As a document has it: alternatives stand bare, which whoever puts `^` and `$` around them gets wrong.
    pub(super) fn source(&self) -> String {
        match self {
            Self::Either(parts) => parts.iter().map(Self::to_string).collect::<Vec<_>>().join("|"),
            other => other.to_string(),
        }
    }
}

fn pick(random: &mut Rng, letters: &str) -> char {
    char::from(random.choice(letters.bytes()).expect("there are some"))
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Letter(letter @ ('+' | '.')) => write!(f, r"\{letter}"),
            Self::Letter(letter) => write!(f, "{letter}"),
            Self::Any => f.write_str("."),
            Self::Class(class) => write!(f, "[{class}]"),
            Self::Sequence(parts) => parts.iter().try_for_each(|part| part.fmt(f)),
            Self::Either(_) => write!(f, "(?:{})", self.source()),
            Self::Repeated { of, least: 0, most: None } => write!(f, "(?:{of})*"),
            Self::Repeated { of, least: 1, most: None } => write!(f, "(?:{of})+"),
            Self::Repeated { of, least, most: None } => write!(f, "(?:{of}){{{least},}}"),
            Self::Repeated { of, least, most: Some(most) } => write!(f, "(?:{of}){{{least},{most}}}"),
        }
    }
}

#[test]
fn an_expression_knows_what_it_matches() {
    let letter = Expression::Letter;
    let ab = Expression::Either(vec![letter('a'), Expression::Sequence(vec![letter('a'), letter('b')])]);
    let again = Expression::Repeated { of: Box::new(ab.clone()), least: 1, most: Some(2) };
    let check = |expression: &Expression, source: &str, matching: &[&str], others: &[&str]| {
        assert_eq!(expression.source(), source);
        assert!(matching.iter().all(|text| expression.matches(text)), "{source}");
        assert!(!others.iter().any(|text| expression.matches(text)), "{source}");
    };
    check(&ab, "a|ab", &["a", "ab"], &["", "b", "abb"]);
    check(&again, "(?:(?:a|ab)){1,2}", &["a", "ab", "aab", "aba", "abab"], &["", "ababa", "bab"]);
    let any = Expression::Repeated { of: Box::new(Expression::Any), least: 0, most: None };
    check(&any, "(?:.)*", &["", "anything"], &[]);
}
