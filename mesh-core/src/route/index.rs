//! Finds the first matching rule without asking every one: by path, the one condition that nearly all rules have.
//!
//! Rules are put where their path can be found: exact paths in a hash, prefixes in a sorted list in which the prefixes of a
//! path are one binary search and a short walk away, expressions in a list that one search enters at the first that matches.
//! Each place holds rule numbers in order, so that the lowest number over all places is the rule that a walk through all of
//! them would find first.

use std::collections::HashMap;

use super::PathMatch;
use crate::matcher::FullMatchSet;

/// Rule numbers by path.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, Vec<usize>>,
    prefixes: Prefixes,
    folded: Prefixes,
    expressions: Expressions,
}

/// Rules whose path is an expression, in order, and all the expressions as one.
#[derive(Debug, Default)]
struct Expressions {
    rules: Vec<usize>,
    together: Option<FullMatchSet>,
}

impl Index {
    pub(super) fn new<'m>(paths: impl Iterator<Item = &'m PathMatch>) -> Self {
        let mut index =
            Self { folded: Prefixes { ignore_case: true, ..Prefixes::default() }, ..Self::default() };
        let mut expressions = Vec::new();
        for (rule, path) in paths.enumerate() {
            match path {
                PathMatch::Exact(text) if !text.ignore_case => {
                    index.exact.entry(text.text.clone()).or_default().push(rule);
                }
                PathMatch::Exact(text) | PathMatch::Prefix(text) | PathMatch::SegmentPrefix(text) => {
                    let prefixes = if text.ignore_case { &mut index.folded } else { &mut index.prefixes };
                    prefixes.insert(&text.text, rule);
                }
                PathMatch::Regex(expression) => {
                    index.expressions.rules.push(rule);
                    expressions.push(expression);
                }
            }
        }
        // One alone is asked by itself.
        if expressions.len() > 1 {
            index.expressions.together = FullMatchSet::new(expressions.into_iter());
        }
        index.prefixes.link();
        index.folded.link();
        index
    }

    /// The lowest rule number whose rule `matches`; only rules whose path may match are asked.
    pub(super) fn first(&self, path: &str, matches: impl Fn(usize) -> bool) -> Option<usize> {
        let exact = self.exact.get(path).map_or(&[][..], Vec::as_slice);
        let places = [exact, self.expressions.of(path)].into_iter();
        let places = places.chain(self.prefixes.of(path)).chain(self.folded.of(path));
        places.fold(None, |best: Option<usize>, rules| {
            let lower = rules.iter().copied().take_while(|rule| best.is_none_or(|best| *rule < best));
            lower.into_iter().find(|rule| matches(*rule)).or(best)
        })
    }
}

impl Expressions {
    /// The rules from the first whose expression matches on; each still has to be asked.
    fn of(&self, path: &str) -> &[usize] {
        match &self.together {
            Some(together) => together.first(path.as_bytes()).map_or(&[], |at| &self.rules[at..]),
            None => &self.rules,
        }
    }
}

/// Prefixes in order, each knowing the longest other one that it begins with.
#[derive(Debug, Default)]
struct Prefixes {
    ignore_case: bool,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: Box<[u8]>,
    rules: Vec<usize>,
    parent: Option<usize>,
}

impl Prefixes {
    fn insert(&mut self, text: &str, rule: usize) {
        let mut text: Box<[u8]> = text.as_bytes().into();
        if self.ignore_case {
            text.make_ascii_lowercase();
        }
        match self.entries.binary_search_by(|entry| entry.text.cmp(&text)) {
            Ok(at) => self.entries[at].rules.push(rule),
            Err(at) => self.entries.insert(at, Entry { text, rules: vec![rule], parent: None }),
        }
    }

    /// In order, an entry's nearest prefix is the entry before it or one of that one's own chain.
    fn link(&mut self) {
        for at in 1..self.entries.len() {
            let mut candidate = Some(at - 1);
            while let Some(parent) = candidate {
                if self.entries[at].text.starts_with(&self.entries[parent].text) {
                    break;
                }
                candidate = self.entries[parent].parent;
            }
            self.entries[at].parent = candidate;
        }
    }

    /// The rules of every entry that `path` begins with, longest first. The last entry not after the path in order either is
    /// one, or has all of them in its chain.
    fn of<'i>(&'i self, path: &str) -> impl Iterator<Item = &'i [usize]> {
        let path = path.as_bytes();
        let after = self.entries.partition_point(|entry| self.not_after(&entry.text, path));
        let nearest = after.checked_sub(1);
        let up = |at: &usize| self.entries[*at].parent;
        let longest =
            std::iter::successors(nearest, up).find(|at| self.begins(path, &self.entries[*at].text));
        std::iter::successors(longest, up).map(|at| self.entries[at].rules.as_slice())
    }

    fn not_after(&self, text: &[u8], path: &[u8]) -> bool {
        if self.ignore_case {
            text.iter().copied().le(path.iter().map(u8::to_ascii_lowercase))
        } else {
            text <= path
        }
    }

    fn begins(&self, path: &[u8], text: &[u8]) -> bool {
        let Some(start) = path.get(..text.len()) else { return false };
        if self.ignore_case { start.eq_ignore_ascii_case(text) } else { start == text }
    }
}
