//! Names that were meant.

/// The nearest of the known names, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|k| (distance(name, k), k)).min();
    near.filter(|(far, _)| *far <= name.chars().count().div_ceil(2).min(4)).map(|(_, known)| known)
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
    fn only_what_is_near_is_meant() {
        let known = ["users", "teams", "team_members"];
        assert_eq!(nearest("user", known), Some("users"));
        assert_eq!(nearest("tem", known), Some("teams"));
        assert_eq!(nearest("invitations", known), None);
    }
}
