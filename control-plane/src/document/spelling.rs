//! How a field's name may be written, and which one was probably meant.
//!
//! A typing error in a field's name is the commonest error of all, so the message offers the nearest name.

/// The known name that differs least from what was written, if it is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: &[&'a str]) -> Option<&'a str> {
    let written: String = camel_case(written).chars().take(NAME_CHARACTERS_MAX).collect();
    let ranked = known.iter().map(|name| (distance(&written, name), *name));
    let (distance, name) = ranked.min_by_key(|(distance, _)| *distance)?;
    (distance <= name.len().max(written.chars().count()) / 2).then_some(name)
}

/// Levenshtein's distance, whatever the case; of what was written, only as much is looked at as is quoted back.
pub(super) fn distance(written: &str, right: &str) -> usize {
    let left: Vec<char> = written.to_lowercase().chars().take(NAME_CHARACTERS_MAX).collect();
    let right = right.to_lowercase();
    let mut row: Vec<usize> = (0..=left.len()).collect();
    for (index, wanted) in right.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, found) in left.iter().enumerate() {
            let replaced = diagonal + usize::from(*found != wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[left.len()]
}

/// Protobuf's snake_case name as its camelCase one.
pub(super) fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut raise = false;
    for letter in name.chars() {
        match letter {
            '_' => raise = true,
            letter if std::mem::take(&mut raise) => camel.push(letter.to_ascii_uppercase()),
            letter => camel.push(letter),
        }
    }
    camel
}

/// Text as it may stand in a message or a path.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(NAME_CHARACTERS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// What a user wrote is quoted back at most this long.
const NAME_CHARACTERS_MAX: usize = 80;
