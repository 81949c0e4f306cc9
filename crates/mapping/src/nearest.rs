//! What someone who misspelt a name most likely meant.

/// The known name nearest to `name`, when it is near enough to be a misspelling.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, near) = known.into_iter().map(|k| (distance(name, k), k)).min()?;
    (distance <= name.chars().count().div_ceil(2).min(4)).then_some(near)
}

/// "did you mean", or the whole list when nothing is near. `what` names the list: `keys here`,
/// `columns`.
pub fn suggestion<'a>(
    name: &str,
    what: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "the {what} are {}",
            known.into_iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Levenshtein: how many letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["depends_on", "query", "source", "target"];
        assert_eq!(nearest("depend_on", known), Some("depends_on"));
        assert_eq!(nearest("targets", known), Some("target"));
        assert_eq!(nearest("colour_of_it", known), None);
        assert_eq!(
            suggestion("zz", "keys here", ["a", "b"]),
            "did you mean `a`?".replace("did you mean `a`?", "the keys here are `a`, `b`")
        );
    }
}
